"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_olmo.olmo import Olmo
from forgather_convert_olmo.olmo2 import Olmo2
from forgather_convert_olmo.olmo3 import Olmo3
from forgather_convert_olmo.olmoe import Olmoe


class TestOlmo(ConverterConformance):
    converter_class = Olmo


class TestOlmo2(ConverterConformance):
    converter_class = Olmo2


class TestOlmo3(ConverterConformance):
    converter_class = Olmo3


class TestOlmoe(ConverterConformance):
    converter_class = Olmoe
