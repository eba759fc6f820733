"""StarCoder2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_starcoder.starcoder2 import Starcoder2


class TestStarcoder2(ConverterConformance):
    converter_class = Starcoder2
