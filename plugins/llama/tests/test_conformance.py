"""Llama passes the standard tests, with every RoPE type that transformers has."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_llama.llama import Llama


class TestLlama(ConverterConformance):
    converter_class = Llama
