"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_hunyuan.hunyuan_v1_dense import HunYuanDenseV1
from forgather_convert_hunyuan.hunyuan_v1_moe import HunYuanMoEV1


class TestHunYuanDenseV1(ConverterConformance):
    converter_class = HunYuanDenseV1


class TestHunYuanMoEV1(ConverterConformance):
    converter_class = HunYuanMoEV1
