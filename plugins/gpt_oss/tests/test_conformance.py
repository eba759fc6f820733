"""gpt-oss passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gpt_oss import GptOssConverter


class TestGptOss(ConverterConformance):
    converter_class = GptOssConverter
