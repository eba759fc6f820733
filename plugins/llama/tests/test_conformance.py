"""Llama passes the standard tests. The other RoPE types are among the repository's own tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_llama import LlamaConverter


class TestLlama(ConverterConformance):
    converter_class = LlamaConverter
