"""A scaled RoPE is read by either version of transformers, as version 5 writes it."""

import pytest
import transformers

from forgather_convert import HFConverter, RopeParameters, UnsupportedModelError
from forgather_convert.models.reference import rope_of
from forgather_convert.testing.converted import Family
from forgather_convert_olmo.olmo2 import Olmo2
from forgather_convert_olmo.olmo3 import Olmo3


def _read(converter: HFConverter, parameters: object) -> RopeParameters:
    config = Family(converter).reference.read({"rope_parameters": parameters}, "the config")
    return rope_of(config, "the config")


def test_the_schema_of_transformers_5() -> None:
    """The older version wants another form of it from this family than from others."""
    parameters = {"rope_type": "linear", "factor": 2, "rope_theta": 500.0}
    assert _read(Olmo2(), parameters) == RopeParameters("linear", 500.0, {"factor": 2})


def test_another_base_for_windows() -> None:
    """The older version has no field for it."""
    full = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    kinds = {"full_attention": full, "sliding_attention": {"rope_theta": 600.0}}
    if transformers.__version__.startswith("4."):
        with pytest.raises(UnsupportedModelError, match="'sliding_attention'"):
            _read(Olmo3(), kinds)
    else:
        sliding = RopeParameters("default", 600.0, {})
        assert _read(Olmo3(), kinds).by_kind == {"sliding_attention": sliding}
