"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_glm.glm import Glm
from forgather_convert_glm.glm4 import Glm4
from forgather_convert_glm.glm4_moe import Glm4Moe
from forgather_convert_glm.glm4_moe_lite import Glm4MoeLite


class TestGlm(ConverterConformance):
    converter_class = Glm


class TestGlm4(ConverterConformance):
    converter_class = Glm4


class TestGlm4Moe(ConverterConformance):
    converter_class = Glm4Moe


class TestGlm4MoeLite(ConverterConformance):
    converter_class = Glm4MoeLite
