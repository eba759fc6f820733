"""Gemma 3 passes the standard tests, with RoPE in the schemas of both transformers versions."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gemma3_text import Gemma3TextConverter


class TestGemma3Text(ConverterConformance):
    converter_class = Gemma3TextConverter
