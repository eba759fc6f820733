"""Tensors that the model does not read: as much comes back as the provenance may hold."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import ConvertOptions, convert
from forgather_convert.models.original_weights import MAX_STORED_BYTES, describe_weights
from forgather_convert.tensors.expressions import stored
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from support.directories import differences
from support.log import logged
from support.models import random_state, write_hf_model
from support.variants import variant

LLAMA = variant("llama-default")
FILE = "forgather_conversion.json"
CARRIED = "forgather_carried.tensors"
ROTARY = "model.layers.{}.self_attn.rotary_emb.{}"


def _write(directory: Path, tables: dict[str, torch.Tensor], shards: int = 1) -> Path:
    state = {**random_state(LLAMA, torch.bfloat16), **tables}
    return write_hf_model(directory, LLAMA, "bfloat16", state=state, shards=shards)


def _there_and_back(source: Path) -> Path:
    convert(source, source.with_name("fg"))
    convert(source.with_name("fg"), source.with_name("back"))
    return source.with_name("back")


def _stored(fg: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads((fg / FILE).read_text())["weights"]["unread"]
    return stored


@pytest.mark.parametrize("shards", [1, 2])
def test_equal_tables_are_kept_once(shards: int, tmp_path: Path) -> None:
    """Every layer has the same frequencies: eighty layers take no more room than one."""
    table = torch.rand(MAX_STORED_BYTES // 4)
    tables = {ROTARY.format(layer, "inv_freq"): table.clone() for layer in range(3)}
    source = _write(tmp_path / "hf", tables, shards)
    assert differences(source, _there_and_back(source)) == []
    (entry,) = _stored(tmp_path / "fg")
    assert sorted(entry["names"]) == sorted(tables)


def test_the_same_bytes_of_another_type_are_another_table(tmp_path: Path) -> None:
    tables = {
        ROTARY.format(0, "inv_freq"): torch.zeros(8),
        ROTARY.format(1, "inv_freq"): torch.zeros(16, dtype=torch.bfloat16),
        ROTARY.format(2, "inv_freq"): torch.zeros(2, 4),
    }
    source = _write(tmp_path / "hf", tables)
    assert differences(source, _there_and_back(source)) == []
    assert len(_stored(tmp_path / "fg")) == 3


def test_a_large_regular_table_comes_back(tmp_path: Path) -> None:
    """A causal mask is a megabyte for a thousand positions, and a kilobyte if it is compressed."""
    mask = torch.ones(1, 1, 1024, 1024).tril()
    tables = {
        **{ROTARY.format(layer, "cos_cached"): mask.clone() for layer in range(3)},
        ROTARY.format(0, "sin_cached"): mask.bool(),
    }
    source = _write(tmp_path / "hf", tables, shards=2)
    assert differences(source, _there_and_back(source)) == []
    assert (tmp_path / "fg" / FILE).stat().st_size < 50_000


def test_as_many_tables_are_kept_as_there_is_room_for(tmp_path: Path) -> None:
    """The others are in a file of their own."""
    size = MAX_STORED_BYTES // 8 + 1
    tables = {ROTARY.format(layer, "inv_freq"): torch.rand(size) for layer in range(3)}
    source = _write(tmp_path / "hf", tables)
    assert differences(source, _there_and_back(source)) == []
    kept = {name for entry in _stored(tmp_path / "fg") if entry["data"] for name in entry["names"]}
    (other,) = tables.keys() - kept
    assert load_file(tmp_path / "fg" / CARRIED).keys() == {other}


@pytest.mark.parametrize("shards", [1, 2])
def test_large_tables_are_in_a_file_of_their_own(shards: int, tmp_path: Path) -> None:
    source = _write(
        tmp_path / "hf", {ROTARY.format(0, "cos_cached"): torch.rand(2**15, 16)}, shards
    )
    with logged(logging.WARNING) as messages:
        assert differences(source, _there_and_back(source)) == []
    assert messages == []
    assert (tmp_path / "fg" / FILE).stat().st_size < 50_000


def test_a_file_of_nothing_but_large_tables_comes_back(tmp_path: Path) -> None:
    source = _write(tmp_path / "hf", {}, shards=2)
    name = ROTARY.format(0, "cos_cached")
    save_file({name: torch.rand(2**15, 16)}, source / "tables.safetensors", {"format": "pt"})
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][name] = "tables.safetensors"
    path.write_text(json.dumps(index))
    assert differences(source, _there_and_back(source)) == []


def test_a_huge_table_is_not_read(tmp_path: Path) -> None:
    """A reader would fail: there is no such file."""
    files = find_weights(_write(tmp_path / "hf", {}))
    assert files is not None
    name = ROTARY.format(0, "cos_cached")
    ref = TensorRef(name, "float32", (2**20, 2**20), tmp_path / "nowhere", 0)
    # The header does not have it, so that no layout is kept at all.
    assert describe_weights(open_checkpoint(files), {name: stored(ref)}) is None


def test_without_the_logit_check_nothing_is_different(tmp_path: Path) -> None:
    tables = {ROTARY.format(0, "cos_cached"): torch.rand(2**15, 16)}
    source = _write(tmp_path / "hf", tables)
    back = _there_and_back(source)
    options = ConvertOptions(logit_check=False)
    convert(source, tmp_path / "fg2", options)
    convert(tmp_path / "fg2", tmp_path / "back2", options)
    assert differences(back, tmp_path / "back2") == []
