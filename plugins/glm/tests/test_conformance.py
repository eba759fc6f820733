"""GLM-4 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_glm.glm4 import Glm4


class TestGlm4(ConverterConformance):
    converter_class = Glm4
