"""GPT-2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gpt2 import GPT2Converter


class TestGPT2(ConverterConformance):
    converter_class = GPT2Converter
