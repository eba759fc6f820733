"""GPT-NeoX passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gpt_neox import GPTNeoXConverter


class TestGPTNeoX(ConverterConformance):
    converter_class = GPTNeoXConverter
