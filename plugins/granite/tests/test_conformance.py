"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance
from forgather_convert_granite.granite import Granite
from forgather_convert_granite.granitemoe import GraniteMoe
from forgather_convert_granite.granitemoehybrid import GraniteMoeHybrid
from forgather_convert_granite.granitemoeshared import GraniteMoeShared


class TestGranite(ConverterConformance):
    converter_class = Granite


class TestGraniteMoe(ConverterConformance):
    converter_class = GraniteMoe


class TestGraniteMoeHybrid(ConverterConformance):
    converter_class = GraniteMoeHybrid


class TestGraniteMoeShared(ConverterConformance):
    converter_class = GraniteMoeShared
