"""DeepSeek-V3 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3


class TestDeepseekV3(ConverterConformance):
    converter_class = DeepseekV3
