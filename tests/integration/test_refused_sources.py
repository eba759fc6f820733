"""A source that is no model directory is refused."""

from pathlib import Path

import pytest

from forgather_convert import (
    SourceError,
    UnsupportedModelError,
)
from support.converting import edit_config
from support.models import write_hf_model
from support.refusals import (
    LLAMA,
    assert_refused,
)
from support.workspace import model_types


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def test_source_that_does_not_exist(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", SourceError, tmp_path / "nowhere", "does not exist")


def test_source_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    assert_refused(file, SourceError, file, "is not a directory")


def test_source_without_config(source: Path) -> None:
    (source / "config.json").unlink()
    assert_refused(source, SourceError, source, "config.json")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"{", "JSON"), (b"\xff\xfe\x00", "cannot be read"), (b"", "JSON"), (b"[1]", "object")],
    ids=["cut-short", "binary", "empty", "list"],
)
def test_config_that_is_not_a_json_object(source: Path, content: bytes, word: str) -> None:
    (source / "config.json").write_bytes(content)
    assert_refused(source, SourceError, source / "config.json", word)


def test_unsupported_model_type(source: Path) -> None:
    edit_config(source, model_type="no_family")
    assert_refused(
        source,
        UnsupportedModelError,
        "No converter registered for model type 'no_family'",
        ", ".join(model_types()),
        "--converter-path",
    )


@pytest.mark.parametrize("model_type", ["", None])
def test_no_model_type(source: Path, model_type: str | None) -> None:
    edit_config(source, model_type=model_type)
    assert_refused(
        source,
        UnsupportedModelError,
        "Could not auto-detect model type",
        source / "config.json",
        "--model-type",
        "--reverse",
    )


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    directory = tmp_path / "somewhere"
    directory.mkdir()
    (directory / "notes.txt").write_text("of something else")
    assert_refused(
        directory,
        SourceError,
        "Could not auto-detect model type",
        f"{directory} has no config.json: is this the model directory?",
    )


def test_model_type_that_is_no_text(source: Path) -> None:
    edit_config(source, model_type=5)
    assert_refused(
        source, UnsupportedModelError, source / "config.json", "'model_type' is 5", "Fix it"
    )


def test_source_without_weights(source: Path) -> None:
    (source / "model.safetensors").unlink()
    assert_refused(source, SourceError, source, "no weights", "pytorch_model.bin")
