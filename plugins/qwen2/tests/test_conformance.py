"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_qwen2.qwen2 import Qwen2
from forgather_convert_qwen2.qwen2_moe import Qwen2Moe


class TestQwen2(ConverterConformance):
    converter_class = Qwen2


class TestQwen2Moe(ConverterConformance):
    converter_class = Qwen2Moe
