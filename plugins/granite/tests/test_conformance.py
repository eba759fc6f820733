"""Granite passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_granite.granite import Granite


class TestGranite(ConverterConformance):
    converter_class = Granite
