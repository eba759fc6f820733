"""Qwen2 passes the standard tests, with windows as its class reads them."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_qwen2.qwen2 import Qwen2


class TestQwen2(ConverterConformance):
    converter_class = Qwen2
