"""OLMo 2 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_olmo.olmo2 import Olmo2


class TestOlmo2(ConverterConformance):
    converter_class = Olmo2
