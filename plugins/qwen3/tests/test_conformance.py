"""Qwen3 passes the standard tests, with windows and the size of heads that its class gives."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_qwen3 import Qwen3Converter


class TestQwen3(ConverterConformance):
    converter_class = Qwen3Converter
