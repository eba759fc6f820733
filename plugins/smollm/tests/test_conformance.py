"""SmolLM3 passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_smollm.smollm3 import SmolLM3


class TestSmolLM3(ConverterConformance):
    converter_class = SmolLM3
