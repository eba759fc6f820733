"""Phi-3 passes the standard tests: fused tensors stay fused."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_phi3 import Phi3Converter


class TestPhi3(ConverterConformance):
    converter_class = Phi3Converter
