"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_qwen3.qwen3 import Qwen3
from forgather_convert_qwen3.qwen3_moe import Qwen3Moe


class TestQwen3(ConverterConformance):
    converter_class = Qwen3


class TestQwen3Moe(ConverterConformance):
    converter_class = Qwen3Moe
