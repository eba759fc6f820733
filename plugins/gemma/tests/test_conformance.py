"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gemma.gemma import Gemma
from forgather_convert_gemma.gemma2 import Gemma2
from forgather_convert_gemma.gemma3_text import Gemma3Text


class TestGemma(ConverterConformance):
    converter_class = Gemma


class TestGemma2(ConverterConformance):
    converter_class = Gemma2


class TestGemma3Text(ConverterConformance):
    converter_class = Gemma3Text
