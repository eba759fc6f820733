"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_mistral.mistral import Mistral
from forgather_convert_mistral.mixtral import Mixtral


class TestMistral(ConverterConformance):
    converter_class = Mistral


class TestMixtral(ConverterConformance):
    converter_class = Mixtral
