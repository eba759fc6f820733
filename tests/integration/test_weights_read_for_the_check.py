"""The certificate names a source whose weights transformers does not read by itself."""

import json
from pathlib import Path

import pytest
import torch

from forgather_convert import convert
from forgather_convert.reporting.certificate import describe_certificate
from support.command import run_convert
from support.models import random_state, write_hf_model
from support.sharded_checkpoints import save_alone
from support.variants import variant

_LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", _LLAMA)


def test_a_directory_that_transformers_does_not_load(source: Path, tmp_path: Path) -> None:
    """Version 4 would run the code in it."""
    (source / "custom_generate").mkdir()
    report = tmp_path / "report.html"
    ended = run_convert("--json", "--report", report, source, tmp_path / "fg")
    result = json.loads(ended.stdout)
    (note,) = result["logits"]["notes"]
    assert "cannot load the source by itself (ValueError: it would run the code" in note
    assert note in result["certificate"]
    assert note in ended.stderr.replace("\n", " ")
    assert "cannot load the source by itself" in report.read_text(encoding="utf-8")


def test_a_distributed_checkpoint(source: Path, tmp_path: Path) -> None:
    save_alone(source, random_state(_LLAMA, torch.float32))
    (source / "model.safetensors").unlink()
    certificate = describe_certificate(convert(source, tmp_path / "fg"))
    assert "cannot read weights like the source's; this tool read them" in certificate


def test_nothing_is_said_of_an_ordinary_directory(source: Path, tmp_path: Path) -> None:
    logits = convert(source, tmp_path / "fg").logits
    assert logits is not None
    assert logits.notes == ()
