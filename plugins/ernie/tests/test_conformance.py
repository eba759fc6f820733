"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_ernie.ernie4_5 import Ernie45
from forgather_convert_ernie.ernie4_5_moe import Ernie45Moe


class TestErnie45(ConverterConformance):
    converter_class = Ernie45


class TestErnie45Moe(ConverterConformance):
    converter_class = Ernie45Moe
