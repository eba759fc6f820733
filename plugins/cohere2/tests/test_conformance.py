"""Cohere2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_cohere2 import Cohere2Converter


class TestCohere2(ConverterConformance):
    converter_class = Cohere2Converter
