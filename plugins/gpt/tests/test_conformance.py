"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_gpt.codegen import CodeGen
from forgather_convert_gpt.gpt2 import GPT2
from forgather_convert_gpt.gpt_neox import GPTNeoX
from forgather_convert_gpt.gpt_oss import GptOss
from forgather_convert_gpt.gptj import GPTJ


class TestGPT2(ConverterConformance):
    converter_class = GPT2


class TestGPTJ(ConverterConformance):
    converter_class = GPTJ


class TestCodeGen(ConverterConformance):
    converter_class = CodeGen


class TestGPTNeoX(ConverterConformance):
    converter_class = GPTNeoX


class TestGptOss(ConverterConformance):
    converter_class = GptOss
