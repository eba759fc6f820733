"""Checkpoints that are not there, and a damaged provenance, are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from forgather_convert import (
    MappingError,
    OptionError,
    SourceError,
    convert,
)
from support.converting import edit_config
from support.models import random_state, write_hf_model, write_weights
from support.refusals import (
    LLAMA,
    assert_refused,
)

pytestmark = pytest.mark.version_independent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model that all tests share; they copy it before they damage it."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


@pytest.fixture
def forgather_source(forgather_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(forgather_model, tmp_path / "fg"))


def test_checkpoint_that_does_not_exist(forgather_source: Path) -> None:
    absent = Path("checkpoint-7")
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        absent,
        checkpoint_path=absent,
    )


def test_checkpoint_without_weights(forgather_source: Path) -> None:
    empty = forgather_source / "checkpoint-7"
    empty.mkdir()
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        empty,
        "model.safetensors",
        checkpoint_path=empty,
    )


def test_forgather_model_without_weights(forgather_source: Path) -> None:
    (forgather_source / "model.safetensors").unlink()
    (forgather_source / "checkpoint-7").mkdir()
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        forgather_source,
        "--checkpoint-path",
    )


def test_checkpoint_of_a_hugging_face_model(source: Path) -> None:
    checkpoint = source / "checkpoint-1"
    checkpoint.mkdir()
    write_weights(checkpoint, random_state(LLAMA, torch.bfloat16))
    assert_refused(source, OptionError, "--checkpoint-path", source, checkpoint_path=checkpoint)


def test_forgather_tensor_that_is_missing(forgather_source: Path) -> None:
    """The names in the message are of both sides, in this direction too."""
    edit_config(forgather_source, num_hidden_layers=4)
    assert_refused(
        forgather_source, MappingError, forgather_source, "model.layers.3.mlp.up_proj.weight"
    )


def test_damaged_provenance(forgather_source: Path) -> None:
    path = forgather_source / "forgather_conversion.json"
    path.write_text(json.dumps({"format_version": 1}))
    assert_refused(forgather_source, SourceError, path, "damaged")
    path.write_text(json.dumps({"format_version": 999}))
    assert_refused(forgather_source, SourceError, path, "999")
