"""Gemma 2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gemma2 import Gemma2Converter


class TestGemma2(ConverterConformance):
    converter_class = Gemma2Converter
