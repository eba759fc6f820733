"""How the weights of a result are written, and where."""

import shutil
from pathlib import Path

import pytest
import torch

from forgather_convert import ConvertOptions, convert, plan
from support.command import run_convert
from support.converting import logits_of, read_config
from support.directories import differences
from support.models import load_forgather, load_hf, write_hf_model
from support.variants import variant

LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def test_pytorch_format(tmp_path: Path) -> None:
    """It loads, and what comes back from it are the same weights."""
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    convert(source, tmp_path / "fg", ConvertOptions(weights_format="pytorch"))
    assert (tmp_path / "fg" / "pytorch_model.bin.index.json").is_file()
    assert not list((tmp_path / "fg").glob("*.safetensors*"))
    original = load_hf(source, "llama")
    assert torch.equal(logits_of(load_forgather(tmp_path / "fg")), logits_of(original))
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
def test_max_shard_size(tmp_path: Path, weights_format: str) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    options = ConvertOptions(max_shard_size=100_000, weights_format=weights_format)
    planned = plan(source, tmp_path / "fg", options)
    convert(source, tmp_path / "fg", options)
    assert len(planned.shards) > 1
    for shard in planned.shards:
        assert (tmp_path / "fg" / shard.file_name).is_file()
        assert sum(tensor.num_bytes for tensor in shard.tensors) <= 100_000
    original = load_hf(source, "llama")
    assert torch.equal(logits_of(load_forgather(tmp_path / "fg")), logits_of(original))


def test_overwrite(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "fg")
    run_convert("--overwrite", "--no-logit-check", source, tmp_path / "fg")
    config = read_config(tmp_path / "fg")
    assert config["model_type"] == "forgather-dynamic-causal-llama"


def test_relative_paths(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    convert(Path(), Path("../fg"))
    assert (tmp_path / "fg" / "config.json").is_file()
