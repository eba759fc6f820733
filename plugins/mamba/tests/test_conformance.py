"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_mamba.mamba2 import Mamba2


class TestMamba2(ConverterConformance):
    converter_class = Mamba2
