"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_lfm2.lfm2 import Lfm2


class TestLfm2(ConverterConformance):
    converter_class = Lfm2
