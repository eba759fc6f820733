"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_apertus.apertus import Apertus


class TestApertus(ConverterConformance):
    converter_class = Apertus
