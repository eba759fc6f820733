"""The conformance kit: tests that every converter should pass, for vendors to inherit.

A converter's test file is one subclass::

    from forgather_convert.testing import TINY_DECODER, ConverterConformance

    class TestMyModel(ConverterConformance):
        converter_class = MyModelConverter
        configs = {
            "plain": TINY_DECODER,
            "tied": {**TINY_DECODER, "tie_word_embeddings": True},
        }

It needs the extra ``forgather-convert[testing]``: pytest is imported here, and nowhere else
in this distribution.
"""

import pytest

# Without this, failing assertions in the inherited tests would not show their values.
pytest.register_assert_rewrite(f"{__name__}.conformance", f"{__name__}.composites")

from forgather_convert.families.tiny_decoder import TINY_DECODER  # noqa: E402
from forgather_convert.testing.composites import CompositeConformance  # noqa: E402
from forgather_convert.testing.conformance import ConverterConformance  # noqa: E402
from forgather_convert.testing.scanned import scanned_converter  # noqa: E402
from forgather_convert.testing.standard_tests import expected_failure  # noqa: E402

__all__ = [
    "TINY_DECODER",
    "CompositeConformance",
    "ConverterConformance",
    "expected_failure",
    "scanned_converter",
]
