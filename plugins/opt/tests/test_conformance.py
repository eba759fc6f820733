"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_opt.opt import OPT


class TestOPT(ConverterConformance):
    converter_class = OPT
