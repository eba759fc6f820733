"""A config that comes back describes the weights that come back, also where it named no dtype."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.converting import convert_unchecked
from support.directories import differences
from support.log import logged
from support.models import random_state, write_hf_model
from support.variants import variant

LLAMA = variant("llama-default")
LOST = "rounding cannot be undone"


def _write(
    directory: Path, stored: str, weights_format: str = "safetensors", /, **fields: Any
) -> Path:
    """A model whose config does not say its dtype, unless ``fields`` do."""
    first, _, second = stored.partition("+")
    state = random_state(LLAMA, getattr(torch, first))
    if second:
        state = {
            name: tensor.to(getattr(torch, second)) if "norm" in name else tensor
            for name, tensor in state.items()
        }
    config = {**LLAMA.config(), **fields}
    return write_hf_model(
        directory, LLAMA, config=config, state=state, weights_format=weights_format
    )


def _config(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
@pytest.mark.parametrize(
    ("stored", "there", "back", "dtype", "is_lost"),
    [
        # The weights are stored as they were: the original's text comes back.
        ("bfloat16", None, None, None, False),
        ("bfloat16", "float32", "bfloat16", None, False),
        ("float32", "float32", None, None, False),
        # They are not: the config says what they are.
        ("float32", None, None, "bfloat16", True),
        ("float16", None, None, "bfloat16", True),
        ("bfloat16", "float32", None, "float32", False),
        ("float32", "float16", None, "float16", True),
        ("float32", "float32", "bfloat16", "bfloat16", False),
        ("bfloat16+float32", None, None, "bfloat16", True),
        ("bfloat16+float32", "float32", None, "float32", False),
        # The type is as it was, but the values were rounded; that cannot be undone.
        ("float32", None, "float32", None, True),
    ],
)
def test_a_config_without_a_dtype(
    stored: str,
    there: str | None,
    back: str | None,
    dtype: str | None,
    is_lost: bool,
    weights_format: str,
    tmp_path: Path,
) -> None:
    source = _write(tmp_path / "hf", stored, weights_format)
    convert_unchecked(source, tmp_path / "fg", dtype=there)
    with logged() as messages:
        convert_unchecked(tmp_path / "fg", tmp_path / "back", dtype=back)
    config = _config(tmp_path / "back")
    assert config == ({**_config(source), "dtype": dtype} if dtype else _config(source))
    dtypes = {
        str(tensor.dtype).removeprefix("torch.")
        for tensor in load_file(tmp_path / "back" / "model.safetensors").values()
    }
    assert dtypes == {dtype or stored}
    assert any(LOST in text for text in messages) == is_lost
    if dtype is None and not is_lost and weights_format == "safetensors":
        assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("nothing", [None, "auto"])
def test_a_dtype_that_says_nothing(field: str, nothing: str | None, tmp_path: Path) -> None:
    source = _write(tmp_path / "hf", "float32", **{field: nothing})
    convert_unchecked(source, tmp_path / "fg")
    convert_unchecked(tmp_path / "fg", tmp_path / "back")
    assert _config(tmp_path / "back") == {**_config(source), field: "bfloat16"}
    same = _write(tmp_path / "same", "bfloat16", **{field: nothing})
    convert_unchecked(same, tmp_path / "same-fg")
    convert_unchecked(tmp_path / "same-fg", tmp_path / "same-back")
    assert differences(same, tmp_path / "same-back") == []


def test_both_fields_change_together(tmp_path: Path) -> None:
    """An old field beside the new one must not go on saying what is not so."""
    source = _write(tmp_path / "hf", "bfloat16", dtype="bfloat16", torch_dtype="bfloat16")
    convert_unchecked(source, tmp_path / "fg", dtype="float32")
    convert_unchecked(tmp_path / "fg", tmp_path / "back")
    config = _config(tmp_path / "back")
    assert (config["dtype"], config["torch_dtype"]) == ("float32", "float32")


def test_a_model_that_was_trained_in_another_type(tmp_path: Path) -> None:
    """Nothing says so but the weights: the config gets what the Forgather model's says."""
    source = _write(tmp_path / "hf", "bfloat16")
    convert_unchecked(source, tmp_path / "fg")
    path = tmp_path / "fg" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "dtype": "float32"}))
    weights = tmp_path / "fg" / "model.safetensors"
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    save_file(state, weights, metadata={"format": "pt"})
    convert_unchecked(tmp_path / "fg", tmp_path / "back")
    assert _config(tmp_path / "back") == {**_config(source), "dtype": "float32"}
