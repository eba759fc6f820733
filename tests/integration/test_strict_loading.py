"""The weights that are written for loaders that know no tied weights, as the framework's."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from forgather_convert import ConvertOptions, convert, inspect
from support.converting import logits_of
from support.directories import differences
from support.models import load_forgather, load_hf, write_hf_model
from support.variants import variant

TIED = variant("qwen3-tied")
HEAD = "lm_head.weight"
EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"


def _state(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".bin":
        loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return loaded
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _assert_complete(directory: Path, index_name: str) -> None:
    """Every name of the model is in the index, and in the file that the index says."""
    names = load_forgather(directory).state_dict().keys()
    index = json.loads((directory / index_name).read_text())
    assert index["weight_map"].keys() == set(names)
    for name, file_name in index["weight_map"].items():
        assert name in _state(directory / file_name)
    assert index["metadata"]["param_sharing"] == [[HEAD, EMBEDDING]]
    files = {directory / name for name in index["weight_map"].values()}
    states = [_state(path) for path in files]
    merged = {name: value for state in states for name, value in state.items()}
    assert torch.equal(merged[HEAD], merged[EMBEDDING])


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
@pytest.mark.parametrize("is_divided_by_source", [False, True])
def test_files_of_a_tied_model_have_both_names(
    tmp_path: Path, weights_format: str, is_divided_by_source: bool
) -> None:
    shards, limit = (3, None) if is_divided_by_source else (1, 100_000)
    source = write_hf_model(tmp_path / "hf", TIED, dtype="float32", shards=shards)
    options = ConvertOptions(weights_format=weights_format, max_shard_size=limit)
    convert(source, tmp_path / "fg", options)
    suffix = "bin" if weights_format == "pytorch" else "safetensors"
    stem = "pytorch_model" if weights_format == "pytorch" else "model"
    _assert_complete(tmp_path / "fg", f"{stem}.{suffix}.index.json")
    original = logits_of(load_hf(source, "qwen3"))
    assert torch.equal(logits_of(load_forgather(tmp_path / "fg")), original)
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


def test_pytorch_format_has_an_index_and_tied_bytes_once(tmp_path: Path) -> None:
    """A link to the index of a checkpoint, which the framework makes, then wins over it."""
    source = write_hf_model(tmp_path / "hf", TIED, dtype="float32")
    convert(source, tmp_path / "fg", ConvertOptions(weights_format="pytorch"))
    _assert_complete(tmp_path / "fg", "pytorch_model.bin.index.json")
    assert not (tmp_path / "fg" / "pytorch_model.bin").exists()
    state = _state(tmp_path / "fg" / "pytorch_model-00001-of-00001.bin")
    assert state[HEAD].data_ptr() == state[EMBEDDING].data_ptr()


def test_a_single_safetensors_file_has_tied_bytes_once(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", TIED, dtype="float32")
    convert(source, tmp_path / "fg")
    assert HEAD not in _state(tmp_path / "fg" / "model.safetensors")


def test_hugging_face_models_have_tied_weights_once(tmp_path: Path) -> None:
    """As transformers saves them: the file of a small model has no index, whatever its format."""
    source = write_hf_model(tmp_path / "hf", TIED, dtype="float32")
    convert(source, tmp_path / "fg")
    options = ConvertOptions(weights_format="pytorch")
    convert(tmp_path / "fg", tmp_path / "back", options)
    assert HEAD not in _state(tmp_path / "back" / "pytorch_model.bin")
    options = ConvertOptions(max_shard_size=100_000)
    convert(tmp_path / "fg", tmp_path / "divided", options)
    names = {ref.name for ref in inspect(tmp_path / "divided").tensors}
    assert HEAD not in names
