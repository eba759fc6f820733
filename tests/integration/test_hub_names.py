"""Sources that are named as on the Hugging Face hub, or lie in its cache."""

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from forgather_convert.source.hub import resolve_source
from support.command import forgather, run_convert
from support.converting import convert_unchecked
from support.directories import snapshot
from support.hub_cache import add_snapshot
from support.models import write_hf_model
from support.variants import variant

_LLAMA = variant("llama-default")
_MAIN, _OLD = "a" * 40, "b" * 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", _LLAMA, "bfloat16", shards=2)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache; nothing can be downloaded."""
    directory = tmp_path / "hub"
    directory.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(directory))
    monkeypatch.chdir(tmp_path)
    return directory


def test_a_name_is_its_snapshot_in_the_cache(source: Path, cache: Path, tmp_path: Path) -> None:
    add_snapshot(cache, "org/tiny-1.0", _MAIN, source)
    result = run_convert("--no-logit-check", "org/tiny-1.0", tmp_path / "fg")
    assert f"snapshots/{_MAIN}" in result.stderr
    assert snapshot(tmp_path / "fg") == snapshot(convert_unchecked(source, tmp_path / "other"))


def test_a_revision_is_a_branch_or_a_commit(source: Path, cache: Path) -> None:
    place = add_snapshot(cache, "org/tiny", _MAIN, source) / "snapshots"
    add_snapshot(cache, "org/tiny", _OLD, source, branch="v1")
    assert resolve_source(Path("org/tiny")) == place / _MAIN
    assert resolve_source(Path("org/tiny@v1")) == place / _OLD
    assert resolve_source(Path(f"org/tiny@{_OLD}")) == place / _OLD


def test_a_directory_comes_before_a_name(source: Path, cache: Path) -> None:
    add_snapshot(cache, "org/tiny", _MAIN, source)
    Path("org").mkdir()
    shutil.copytree(source, "org/tiny")
    assert resolve_source(Path("org/tiny")) == Path("org/tiny")


def test_a_directory_of_the_cache_is_its_snapshot(source: Path, cache: Path) -> None:
    directory = add_snapshot(cache, "org/tiny", _MAIN, source)
    add_snapshot(cache, "org/tiny", _OLD, source, branch=None)
    assert resolve_source(directory) == directory / "snapshots" / _MAIN


def test_the_only_snapshot_needs_no_branch(source: Path, cache: Path) -> None:
    directory = add_snapshot(cache, "org/tiny", _OLD, source, branch=None)
    assert resolve_source(directory) == directory / "snapshots" / _OLD


def test_snapshots_are_not_chosen_from(source: Path, cache: Path, tmp_path: Path) -> None:
    for commit in (_MAIN, _OLD):
        directory = add_snapshot(cache, "org/tiny", commit, source, branch=None)
    result = forgather("convert", directory, tmp_path / "fg")
    assert result.returncode == 1
    assert "which of its snapshots is meant" in result.stderr
    assert _MAIN in result.stderr
    assert _OLD in result.stderr


def test_a_name_that_is_not_in_the_cache(cache: Path, tmp_path: Path) -> None:
    result = forgather("convert", "org/tiny", tmp_path / "fg")
    assert result.returncode == 1
    assert "org/tiny is neither a directory nor a complete model" in result.stderr
    assert "HF_HUB_OFFLINE prevents the download" in result.stderr


def test_a_snapshot_without_a_shard_is_not_taken(source: Path, cache: Path, tmp_path: Path) -> None:
    directory = add_snapshot(cache, "org/tiny", _MAIN, source)
    (directory / "snapshots" / _MAIN / "model-00002-of-00002.safetensors").unlink()
    result = forgather("convert", "org/tiny", tmp_path / "fg")
    assert result.returncode == 1
    assert "neither a directory nor a complete model" in result.stderr


def test_a_hub_that_cannot_be_reached(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    result = forgather("convert", "org/tiny", tmp_path / "fg")
    assert result.returncode == 1
    assert "org/tiny is not a directory, and cannot be downloaded" in result.stderr
    assert "Traceback" not in result.stderr


def test_other_paths_that_do_not_exist(cache: Path, tmp_path: Path) -> None:
    for path in ("tiny", "/org/tiny", "a/b/c", "org/tiny@"):
        result = forgather("convert", path, tmp_path / "fg")
        assert result.returncode == 1
        assert f"The source {path} does not exist" in result.stderr


_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123456789\n"


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
    ],
)
def test_pointers_of_git_lfs(name: str, source: Path, tmp_path: Path) -> None:
    (source / name).write_text(_POINTER)
    result = forgather("convert", source, tmp_path / "fg")
    assert result.returncode == 1
    assert f"{source / name} is a Git LFS pointer" in result.stderr
    assert "git lfs pull" in result.stderr


def test_a_pointer_in_place_of_a_bin_file(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA, weights_format="pytorch")
    (source / "pytorch_model.bin").write_text(_POINTER)
    result = forgather("convert", source, tmp_path / "fg")
    assert result.returncode == 1
    assert "is a Git LFS pointer" in result.stderr
