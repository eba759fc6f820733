"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_falcon.falcon_h1 import FalconH1


class TestFalconH1(ConverterConformance):
    converter_class = FalconH1
