"""Configs that a family cannot express are refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import (
    ForgatherConvertError,
    UnsupportedModelError,
)
from support.converting import convert_unchecked, edit_config
from support.models import random_state, write_hf_model
from support.refusals import (
    LLAMA,
    assert_refused,
)
from support.variants import Variant


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


_NESTED_ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
}
_YARN = {"rope_type": "yarn", "factor": 2.0}
_LAYER_TYPES = ["sliding_attention", "full_attention", "full_attention"]


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("llama", {"sliding_window": 8}),
        ("llama", {"layer_types": _LAYER_TYPES}),
        ("mistral", {"attention_bias": True}),
        ("mistral", {"mlp_bias": True}),
        ("mistral", {"layer_types": _LAYER_TYPES}),
        ("qwen3", {"mlp_bias": True}),
        ("llama", {"partial_rotary_factor": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_field_that_the_family_does_not_have(
    tmp_path: Path, family: str, fields: dict[str, Any]
) -> None:
    """A field that the code ignores would be a model that silently computes something else."""
    plain = Variant(family, "plain", fields)
    source = write_hf_model(tmp_path / "hf", plain, state=random_state(LLAMA, torch.bfloat16))
    (name,) = fields
    assert_refused(source, UnsupportedModelError, source / "config.json", family, name)


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"rope_type": "fancy"}, ["'fancy'", "yarn"]),
        ({"rope_type": "linear"}, ["'linear'", "'factor'"]),
        ({"type": "dynamic"}, ["'dynamic'", "'factor'"]),
        ({"rope_type": "yarn"}, ["'yarn'", "'factor'"]),
        ({"rope_type": "longrope", "short_factor": [1.0] * 8}, ["'longrope'", "'long_factor'"]),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}, ["'high_freq_factor'"]),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, ["partial_rotary_factor"]),
        (_NESTED_ROPE, ["different RoPE parameters"]),
        ("yarn", ["'yarn'", "not an object"]),
    ],
    ids=[
        "unknown",
        "linear",
        "dynamic",
        "yarn",
        "longrope",
        "llama3",
        "partial",
        "nested",
        "text",
    ],
)
@pytest.mark.parametrize("schema", ["4", "5"])
def test_rope_that_cannot_be_expressed(
    source: Path, rope: Any, words: list[str], schema: str
) -> None:
    if schema == "4":
        edit_config(source, ("rope_parameters",), rope_scaling=rope)
    else:
        both = {**rope, "rope_theta": 10000.0} if isinstance(rope, dict) else rope
        edit_config(source, ("rope_scaling", "rope_theta"), rope_parameters=both)
    assert_refused(source, UnsupportedModelError, source / "config.json", *words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden_act": "swish7"}, ["hidden_act", "swish7"]),
        ({"hidden_size": 64.0}, ["hidden_size", "64.0"]),
        ({"hidden_size": None}, ["hidden_size"]),
        ({"num_hidden_layers": "3"}, ["num_hidden_layers", "3"]),
        ({"num_key_value_heads": 3}, ["num_key_value_heads", "3"]),
        ({"pad_token_id": 4711}, ["pad_token_id", "4711", "160"]),
        ({"dtype": "float99"}, ["dtype", "float99"]),
        ({"dtype": 16}, ["dtype", "16"]),
        ({"model_type": ["llama"]}, ["model_type", "llama"]),
        ({"rope_parameters": False}, ["RoPE", "False"]),
        ({"rope_scaling": {"rope_type": None}}, ["RoPE", "null"]),
        ({"rope_scaling": {**_YARN, "original_max_position_embeddings": 0.5}}, ["0.5", "whole"]),
    ],
    ids=lambda value: str(next(iter(value))),
)
def test_value_that_cannot_be(source: Path, fields: dict[str, Any], words: list[str]) -> None:
    edit_config(source, **fields)
    assert_refused(source, ForgatherConvertError, source / "config.json", *words)


def test_dtype_that_is_none_though_another_is_asked_for(source: Path) -> None:
    """The source would not load."""
    edit_config(source, dtype=["bfloat16"])
    assert_refused(source, UnsupportedModelError, source / "config.json", dtype="float32")


def test_value_that_transformers_refuses(source: Path) -> None:
    """The converter is not to blame."""
    edit_config(source, id2label="none")
    words = ("The installed transformers cannot read",)
    assert_refused(source, UnsupportedModelError, source / "config.json", *words)


@pytest.mark.parametrize("window", [None, 0, 2.0])
def test_window_without_a_size(tmp_path: Path, window: Any) -> None:
    fields = {"layer_types": _LAYER_TYPES, "use_sliding_window": True, "sliding_window": 8}
    source = write_hf_model(tmp_path / "hf", Variant("qwen3", "windows", fields))
    edit_config(source, sliding_window=window)
    assert_refused(source, UnsupportedModelError, source / "config.json", "sliding_window")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    return convert_unchecked(write_hf_model(root / "hf", LLAMA), root / "fg")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head_dim", None),
        ("rope_theta", None),
        ("sliding_window", 0),
        ("sliding_window", ""),
        ("model_type", {}),
        ("rope_scaling", False),
    ],
)
def test_value_that_a_forgather_model_cannot_have(
    forgather_model: Path, tmp_path: Path, name: str, value: Any
) -> None:
    """Its code takes them as they are, and would fail."""
    source = Path(shutil.copytree(forgather_model, tmp_path / "fg"))
    edit_config(source, **{name: value})
    word = "RoPE" if name == "rope_scaling" else name
    assert_refused(source, UnsupportedModelError, source / "config.json", word)


def test_heads_that_cannot_be_grouped(tmp_path: Path) -> None:
    """With weights to match: only running the model would tell otherwise."""
    odd = Variant("llama", "odd", {"num_attention_heads": 4, "num_key_value_heads": 3})
    fitting = Variant("llama", "fitting", {"num_attention_heads": 4, "num_key_value_heads": 4})
    state = random_state(fitting, torch.bfloat16)
    for name in state:
        if "k_proj" in name or "v_proj" in name:
            state[name] = state[name][:48].clone()
    source = write_hf_model(tmp_path / "hf", odd, state=state)
    words = (source / "config.json", "num_key_value_heads", "3")
    assert_refused(source, ForgatherConvertError, *words)
