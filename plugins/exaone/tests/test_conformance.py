"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_exaone.exaone4 import Exaone4


class TestExaone4(ConverterConformance):
    converter_class = Exaone4
