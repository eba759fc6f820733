"""MiniMax-M2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_minimax.minimax_m2 import MiniMaxM2


class TestMiniMaxM2(ConverterConformance):
    converter_class = MiniMaxM2
