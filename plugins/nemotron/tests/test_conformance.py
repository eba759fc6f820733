"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_nemotron.nemotron import Nemotron
from forgather_convert_nemotron.nemotron_h import NemotronH


class TestNemotron(ConverterConformance):
    converter_class = Nemotron


class TestNemotronH(ConverterConformance):
    converter_class = NemotronH
