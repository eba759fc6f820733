"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_jamba.jamba import Jamba


class TestJamba(ConverterConformance):
    converter_class = Jamba
