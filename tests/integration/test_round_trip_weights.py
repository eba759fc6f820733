"""HF -> FG -> HF gives back weights files, also with other values or another dtype."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import ValidationError
from support.converting import convert_unchecked
from support.directories import differences
from support.models import TRANSFORMERS_MAJOR, random_state, write_hf_model, write_weights
from support.round_trips import (
    assert_equal_tensors,
    checked_there_and_back,
    there_and_back,
    variant_name,
)
from support.safetensors_writer import read_header_bytes, write_safetensors
from support.variants import PLAIN, Variant, variant

pytestmark = pytest.mark.version_independent

_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"


def _layer_norms_as_float32(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.float() if "norm" in name else value for name, value in state.items()}


@pytest.mark.parametrize(
    "style",
    [
        {"length_modulo_8": 3},
        {"more_spaces": 1000},
        {"header_reversed": True},
        {"metadata_last": True, "header_reversed": True, "length_modulo_8": 5},
        {"metadata": {"format": "pt", "trained_by": "Zoë", "step": "7"}},
        {"metadata": None},
        {"metadata": {}},
        {"separators": (", ", ": ")},
    ],
    ids=str,
)
def test_headers_come_back(style: dict[str, Any], tmp_path: Path) -> None:
    """Legal headers that transformers itself would not write."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    state = random_state(_LLAMA, torch.bfloat16)
    write_safetensors(source / "model.safetensors", state, **style)
    if style == {"metadata": {}} and TRANSFORMERS_MAJOR == 4:
        # It does not read such files, so that what comes back cannot be checked.
        with pytest.raises(ValidationError, match="result does not load by itself"):
            checked_there_and_back(source)
        shutil.rmtree(tmp_path / "fg")
        assert differences(source, there_and_back(source)) == []
        return
    assert differences(source, checked_there_and_back(source)) == []


def test_the_order_of_bytes_comes_back(tmp_path: Path) -> None:
    """Order by size, by name, by layer: tools do not agree on one."""
    state = random_state(_LLAMA, torch.bfloat16)
    scattered = dict(sorted(state.items(), key=lambda item: item[0][::-1]))
    assert list(scattered) not in (list(state), sorted(state))
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    write_safetensors(source / "model.safetensors", scattered)
    assert differences(source, there_and_back(source)) == []


def test_the_index_comes_back(tmp_path: Path) -> None:
    """With what other tools note in it, and with file names of their own."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, shards=2)
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["metadata"].update(total_parameters=123, tool="großes Werkzeug")
    index["custom"] = [1, 2]
    for number, name in enumerate(sorted(set(index["weight_map"].values()))):
        (source / name).rename(source / f"part.{number}.safetensors")
        for tensor, file_name in index["weight_map"].items():
            if file_name == name:
                index["weight_map"][tensor] = f"part.{number}.safetensors"
    path.write_bytes(json.dumps(index, indent=1, ensure_ascii=False).encode("utf-8"))
    assert differences(source, checked_there_and_back(source)) == []


def test_an_index_of_one_file_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    name = "model-00001-of-00001.safetensors"
    (source / "model.safetensors").rename(source / name)
    weight_map = dict.fromkeys(random_state(_LLAMA, torch.float32), name)
    index = {"metadata": {}, "weight_map": weight_map}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    assert differences(source, checked_there_and_back(source)) == []


@pytest.mark.parametrize("variant", PLAIN, ids=variant_name)
def test_mixed_dtypes_come_back(variant: Variant, tmp_path: Path) -> None:
    """Norms are often kept in float32 in a bfloat16 model."""
    state = _layer_norms_as_float32(random_state(variant, torch.bfloat16))
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", state=state)
    back = checked_there_and_back(source)
    fg = load_file(tmp_path / "fg" / "model.safetensors")
    assert fg["causal_lm.layer_stack.layer_norm.weight"].dtype == torch.float32
    assert fg["lm_head.weight"].dtype == torch.bfloat16
    assert differences(source, back) == []


@pytest.mark.parametrize("shards", [1, 3])
def test_stored_rope_frequencies_come_back(shards: int, tmp_path: Path) -> None:
    """Old checkpoints have them; the Forgather model computes its own."""
    state = random_state(_LLAMA, torch.bfloat16)
    for layer in range(3):
        name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
        state[name] = torch.rand(8, generator=torch.Generator().manual_seed(layer))
    source = write_hf_model(tmp_path / "hf", _LLAMA, "bfloat16", state=state, shards=shards)
    back = checked_there_and_back(source)
    tensors = [load_file(path) for path in (tmp_path / "fg").glob("*.safetensors")]
    assert not any("inv_freq" in name for part in tensors for name in part)
    assert differences(source, back) == []


@pytest.mark.parametrize("shards", [1, 2])
def test_a_tied_head_that_is_stored_too_comes_back(shards: int, tmp_path: Path) -> None:
    state = random_state(_TIED, torch.bfloat16)
    state[_HEAD] = state[_EMBEDDING].clone()
    source = write_hf_model(tmp_path / "hf", _TIED, "bfloat16", state=state, shards=shards)
    assert differences(source, checked_there_and_back(source)) == []


def test_a_tied_model_that_stores_only_its_head_comes_back(tmp_path: Path) -> None:
    """It is what transformers 5 reads, and version 4 does not."""
    state = random_state(_TIED, torch.bfloat16)
    state[_HEAD] = state.pop(_EMBEDDING)
    source = write_hf_model(tmp_path / "hf", _TIED, dtype="bfloat16", state=state)
    if TRANSFORMERS_MAJOR == 4:
        with pytest.raises(ValidationError, match=f"completely: {re.escape(_EMBEDDING)}"):
            checked_there_and_back(source)
        assert differences(source, there_and_back(source)) == []
        return
    assert differences(source, checked_there_and_back(source)) == []


def test_the_division_of_the_forgather_model_does_not_matter(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    back = there_and_back(source, max_shard_size=20_000)
    assert len(list((tmp_path / "fg").glob("model-*.safetensors"))) > 3
    assert differences(source, back) == []


@pytest.mark.parametrize("variant", [_LLAMA, _TIED], ids=variant_name)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_forgather_model_in_pytorch_format_comes_back(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=shards)
    back = there_and_back(source, weights_format="pytorch")
    assert list((tmp_path / "fg").glob("pytorch_model*.bin"))
    assert not list((tmp_path / "fg").glob("*.safetensors"))
    assert differences(source, back) == []


@pytest.mark.parametrize("variant", [_LLAMA, _TIED], ids=variant_name)
@pytest.mark.parametrize("shards", [1, 3])
def test_pytorch_weights_come_back_as_safetensors(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    """The same tensors, in a format that runs nothing; all else is as it was."""
    state = random_state(variant, torch.bfloat16)
    source = write_hf_model(
        tmp_path / "hf", variant, "bfloat16", state=state, shards=shards, weights_format="pytorch"
    )
    back = checked_there_and_back(source)
    assert_equal_tensors(load_file(back / "model.safetensors"), state)
    changed = {path.name for path in source.glob("pytorch_model*")} | {"model.safetensors"}
    assert {text.split(": ")[1] for text in differences(source, back)} == changed


def _rewrite_as_one_file(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state)


def _rewrite_as_shards(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state, shards=4)


def _rewrite_as_pytorch(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state, shards=2, weights_format="pytorch")


def _rewrite_as_checkpoint(fg: Path, state: dict[str, torch.Tensor]) -> None:
    (fg / "checkpoints" / "checkpoint-5").mkdir(parents=True)
    write_weights(fg / "checkpoints" / "checkpoint-5", state, shards=2)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "rewrite",
    [_rewrite_as_one_file, _rewrite_as_shards, _rewrite_as_pytorch, _rewrite_as_checkpoint],
    ids=lambda rewrite: rewrite.__name__.removeprefix("_rewrite_as_"),
)
def test_changed_weights_come_back_in_the_original_layout(
    rewrite: Callable[[Path, dict[str, torch.Tensor]], None], shards: int, tmp_path: Path
) -> None:
    """Training changes values only: the result is what the source would be with them."""
    for name, seed in (("before", 1), ("after", 2)):
        source = write_hf_model(
            tmp_path / name / "hf",
            _TIED,
            dtype="bfloat16",
            state=random_state(_TIED, torch.bfloat16, seed),
            shards=shards,
        )
        (source / "README.md").write_text("The same in both.\n")
        convert_unchecked(source, tmp_path / name / "fg")
    fg = tmp_path / "before" / "fg"
    trained = {
        name: tensor
        for path in (tmp_path / "after" / "fg").glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    for path in fg.glob("model*"):
        path.unlink()
    rewrite(fg, trained)
    convert_unchecked(fg, tmp_path / "back")
    assert differences(tmp_path / "after" / "hf", tmp_path / "back") == []


def test_one_changed_value_comes_back(tmp_path: Path) -> None:
    """The smallest training step: headers stay, and one element of one tensor differs."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    fg = convert_unchecked(source, tmp_path / "fg")
    state = {name: tensor.clone() for name, tensor in load_file(fg / "model.safetensors").items()}
    state["causal_lm.layer_stack.layers.1.attention.key_linear.weight"][3, 5] = 123.0
    write_weights(fg, state)
    back = convert_unchecked(fg, tmp_path / "back")
    assert differences(source, back) == ["differs: model.safetensors"]
    one, other = source / "model.safetensors", back / "model.safetensors"
    assert read_header_bytes(one) == read_header_bytes(other)
    expected = {name: tensor.clone() for name, tensor in load_file(one).items()}
    expected["model.layers.1.self_attn.k_proj.weight"][3, 5] = 123.0
    assert_equal_tensors(load_file(other), expected)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("variant", [_LLAMA, _TIED], ids=variant_name)
def test_training_in_float32_and_back_loses_nothing(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    """Every bfloat16 value is a float32 value."""
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=shards)
    fg = convert_unchecked(source, tmp_path / "fg", dtype="float32")
    tensors = [load_file(path) for path in fg.glob("*.safetensors")]
    assert {tensor.dtype for part in tensors for tensor in part.values()} == {torch.float32}
    back = convert_unchecked(fg, tmp_path / "back", dtype="bfloat16")
    assert differences(source, back) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
def test_casts_round_as_torch_does(dtype: str, weights_format: str, tmp_path: Path) -> None:
    """Bit for bit, also what is not finite, subnormal, or halfway between two values."""
    state = random_state(_LLAMA, torch.float32)
    special = torch.tensor([1e-40, -1e-45, 3.4e38, 65520.0, 1.00390625, 1.01171875, -0.0, 1e-7])
    special = torch.cat([special, torch.tensor([float("inf"), float("-inf"), float("nan")])])
    state["model.layers.0.mlp.up_proj.weight"][0, : len(special)] = special
    source = write_hf_model(tmp_path / "hf", _LLAMA, state=state)
    fg = convert_unchecked(source, tmp_path / "fg", dtype=dtype, weights_format=weights_format)
    back = convert_unchecked(fg, tmp_path / "back")
    expected = {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}
    assert_equal_tensors(load_file(back / "model.safetensors"), expected)
    before, after = (json.loads((path / "config.json").read_text()) for path in (source, back))
    assert after == {**before, "dtype": dtype}
