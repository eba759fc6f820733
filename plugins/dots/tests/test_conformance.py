"""dots.llm1 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_dots.dots1 import Dots1


class TestDots1(ConverterConformance):
    converter_class = Dots1
