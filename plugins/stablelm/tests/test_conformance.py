"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_stablelm.stablelm import StableLm


class TestStableLm(ConverterConformance):
    converter_class = StableLm
