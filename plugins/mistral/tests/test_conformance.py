"""Mistral passes the standard tests, with its window in the forms that configs have."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_mistral import MistralConverter


class TestMistral(ConverterConformance):
    converter_class = MistralConverter
