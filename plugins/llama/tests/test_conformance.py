"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_llama.arcee import Arcee
from forgather_convert_llama.cwm import Cwm
from forgather_convert_llama.llama import Llama


class TestLlama(ConverterConformance):
    converter_class = Llama


class TestArcee(ConverterConformance):
    converter_class = Arcee


class TestCwm(ConverterConformance):
    converter_class = Cwm
