"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_deepseek.deepseek_v2 import DeepseekV2
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3


class TestDeepseekV2(ConverterConformance):
    converter_class = DeepseekV2


class TestDeepseekV3(ConverterConformance):
    converter_class = DeepseekV3
