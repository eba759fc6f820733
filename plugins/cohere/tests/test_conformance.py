"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_cohere.cohere import Cohere
from forgather_convert_cohere.cohere2 import Cohere2


class TestCohere(ConverterConformance):
    converter_class = Cohere


class TestCohere2(ConverterConformance):
    converter_class = Cohere2
