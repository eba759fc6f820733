"""Qwen3 MoE passes the standard tests, with experts in all layers or in some."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_qwen3_moe import Qwen3MoeConverter


class TestQwen3Moe(ConverterConformance):
    converter_class = Qwen3MoeConverter
