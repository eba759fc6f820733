"""A scaled RoPE is read by either version of transformers, as version 5 writes it."""

from forgather_convert import RopeParameters
from forgather_convert.models.reference import rope_of
from forgather_convert.testing.converted import Family
from forgather_convert_olmo.olmo2 import Olmo2


def test_the_schema_of_transformers_5() -> None:
    """The older version wants another form of it from this family than from others."""
    parameters = {"rope_type": "linear", "factor": 2, "rope_theta": 500.0}
    config = Family(Olmo2()).reference.read({"rope_parameters": parameters}, "the config")
    assert rope_of(config, "the config") == RopeParameters("linear", 500.0, {"factor": 2})
