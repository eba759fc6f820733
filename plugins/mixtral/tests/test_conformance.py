"""Mixtral passes the standard tests, with and without windows."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_mixtral import MixtralConverter


class TestMixtral(ConverterConformance):
    converter_class = MixtralConverter
