"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_helium.helium import Helium


class TestHelium(ConverterConformance):
    converter_class = Helium
