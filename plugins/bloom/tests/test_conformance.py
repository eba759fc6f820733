"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_bloom.bloom import Bloom


class TestBloom(ConverterConformance):
    converter_class = Bloom
