"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_phi.phi import Phi
from forgather_convert_phi.phi3 import Phi3
from forgather_convert_phi.phimoe import Phimoe


class TestPhi(ConverterConformance):
    converter_class = Phi


class TestPhi3(ConverterConformance):
    converter_class = Phi3


class TestPhimoe(ConverterConformance):
    converter_class = Phimoe
