"""RoPE parameters for kinds of layers, in the schemas of transformers 4 and 5."""

from typing import Any

import pytest
from transformers import AutoConfig

from forgather_convert import UnsupportedModelError
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project
from forgather_convert.models.reference import rope_of
from forgather_convert.source.rope import (
    RopeParameters,
    check_transformers_4_knows,
    read_rope,
)

FULL = {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0}
SLIDING = {"rope_type": "default", "rope_theta": 500.0}
BY_KIND = {"full_attention": FULL, "sliding_attention": SLIDING}
ROPE = RopeParameters(
    "linear",
    20000.0,
    {"factor": 8.0},
    by_kind={"sliding_attention": RopeParameters("default", 500.0, {})},
)
SCHEMA_4 = {
    "rope_theta": 20000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "rope_local_base_freq": 500.0,
}


def test_both_schemas_are_written() -> None:
    assert ROPE.to_fields() == {**SCHEMA_4, "rope_parameters": BY_KIND}


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": BY_KIND},
        # As the config objects of transformers 5 have it, under both names.
        {"rope_parameters": BY_KIND, "rope_scaling": BY_KIND},
        ROPE.to_fields(),
    ],
    ids=["5", "object", "both"],
)
def test_they_are_read(fields: dict[str, Any]) -> None:
    assert read_rope(fields) == ROPE


def test_scaling_beside_them_is_that_of_the_layers_that_do_not_slide() -> None:
    default = {**BY_KIND, "full_attention": {"rope_type": "default", "rope_theta": 20000.0}}
    fields = {"rope_parameters": default, "rope_scaling": SCHEMA_4["rope_scaling"]}
    assert read_rope(fields) == ROPE


def test_layers_without_positions_have_no_entry() -> None:
    assert read_rope({"rope_parameters": {**BY_KIND, "linear_attention": None}}) == ROPE


def test_parameters_for_sliding_layers_only_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="full_attention"):
        read_rope({"rope_parameters": {"sliding_attention": SLIDING}})


def test_transformers_4_has_a_field_for_the_base_of_sliding_layers() -> None:
    check_transformers_4_knows(BY_KIND, "the config")


@pytest.mark.parametrize("kind", ["sliding_attention", "chunked_attention"])
def test_what_transformers_4_does_not_know_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedModelError, match=kind):
        check_transformers_4_knows({"full_attention": SLIDING, kind: FULL}, "the config")


def test_config_objects_of_the_installed_transformers() -> None:
    config = AutoConfig.for_model("gemma3_text", **SCHEMA_4)
    assert rope_of(config, "the config") == ROPE


def test_a_field_that_the_class_does_not_have_means_nothing() -> None:
    config = AutoConfig.for_model("llama", rope_local_base_freq=500.0)
    assert rope_of(config, "the config").by_kind == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": BY_KIND},
        ROPE.to_fields(),
        {
            "rope_parameters": {**BY_KIND, "full_attention": {"rope_theta": 20000.0}},
            "rope_scaling": SCHEMA_4["rope_scaling"],
        },
    ],
    ids=["5", "both", "scaling-beside-them"],
)
def test_a_generated_config_reads_them_alike(fields: dict[str, Any]) -> None:
    generated = {
        "rms_norm_eps": 1e-6,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    config_class = load_generated_code(generate_code(Project("toy", generated))).config_class
    config = config_class(**fields)
    assert config.rope_parameters == BY_KIND
    assert config.rope_theta == 20000.0
    assert config_class.from_dict(config.to_dict()).rope_parameters == BY_KIND
