"""Damaged and quantized weights are refused."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import (
    SourceError,
    UnsupportedModelError,
)
from support.converting import edit_config
from support.models import write_hf_model
from support.refusals import (
    LLAMA,
    assert_refused,
    write_state,
)

pytestmark = pytest.mark.version_independent

SHARDS = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def test_index_that_names_an_absent_file(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    absent = source / "model-00002-of-00003.safetensors"
    absent.unlink()
    index = source / "model.safetensors.index.json"
    assert_refused(source, SourceError, index, absent.name, "does not exist", "download")


@pytest.mark.parametrize("place", ["../{}", "{}/../{}", "/etc/hostname"])
def test_index_that_names_a_file_elsewhere(tmp_path: Path, place: str) -> None:
    """A downloaded index must not make the tool read the user's other files."""
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    name = "model-00002-of-00003.safetensors"
    shutil.copy(source / name, tmp_path / name)
    index = source / "model.safetensors.index.json"
    outside = place.format(name, name)
    index.write_text(index.read_text().replace(name, outside))
    assert_refused(source, SourceError, index, outside, "outside")


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}'])
def test_index_that_is_none(tmp_path: Path, content: str) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    index = source / "model.safetensors.index.json"
    index.write_text(content)
    assert_refused(source, SourceError, index)


def test_index_that_promises_a_tensor_its_file_lacks(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    index = source / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.norm.weight"] = content["weight_map"]["lm_head.weight"]
    content["weight_map"]["model.extra.weight"] = content["weight_map"]["lm_head.weight"]
    index.write_text(json.dumps(content))
    assert_refused(source, SourceError, index, "is not")


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_safetensors_file_that_is_cut_short(source: Path, size: int) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    assert_refused(source, SourceError, weights)


def test_safetensors_file_with_bytes_behind_its_tensors(source: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert_refused(source, SourceError, weights, "bytes after its tensors")


@pytest.mark.parametrize("size", [0, 100, 100_000, -1])
def test_bin_file_that_is_cut_short(tmp_path: Path, size: int) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, weights_format="pytorch")
    weights = source / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:size])
    assert_refused(source, SourceError, weights)


def _overlap(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = [0, 128]


def _gap(header: dict[str, Any]) -> None:
    del header["model.norm.weight"]


def _negative(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = [-128, 0]


def _unknown_dtype(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["dtype"] = "F7"


def _no_shape(header: dict[str, Any]) -> None:
    del header["model.norm.weight"]["shape"]


def _shape_of_text(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["shape"] = ["many"]


def _not_an_object(header: dict[str, Any]) -> None:
    header["model.norm.weight"] = []


@pytest.mark.parametrize(
    "damage",
    [_overlap, _gap, _negative, _unknown_dtype, _no_shape, _shape_of_text, _not_an_object],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_safetensors_file_with_a_damaged_header(
    source: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    weights = source / "model.safetensors"
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    damage(header)
    raw = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    assert_refused(source, SourceError, weights, "header")


@pytest.mark.parametrize("garbage", [b"[]", b"not json", b"\xff\xff"])
def test_safetensors_file_with_garbage_for_a_header(source: Path, garbage: bytes) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(garbage)) + garbage)
    assert_refused(source, SourceError, weights, "header")


@pytest.mark.parametrize(
    ("quantization", "method"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
    ],
)
def test_quantization_that_the_config_tells(
    source: Path, quantization: dict[str, Any], method: str
) -> None:
    edit_config(source, quantization_config=quantization)
    assert_refused(
        source, UnsupportedModelError, source / "config.json", "quantized", method, "unquantized"
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int32])
def test_quantization_that_the_weights_tell(tmp_path: Path, dtype: torch.dtype) -> None:
    """Even where their names and shapes fit, their scales would be lost."""
    name = "model.layers.0.self_attn.q_proj.weight"
    source = write_state(tmp_path / "hf", lambda state: state.update({name: state[name].to(dtype)}))
    dtype_name = str(dtype).removeprefix("torch.")
    assert_refused(source, UnsupportedModelError, source, name, dtype_name, "unquantized")
