"""Seed-OSS passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_seed_oss.seed_oss import SeedOss


class TestSeedOss(ConverterConformance):
    converter_class = SeedOss
