"""Models in ``.bin`` files that torch did not pack itself."""

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.command import forgather
from support.converting import convert_unchecked
from support.models import random_state, write_hf_model
from support.variants import variant
from support.zip_files import repack

_LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", _LLAMA, weights_format="pytorch")


def test_a_file_that_was_packed_again_converts_bit_for_bit(source: Path, tmp_path: Path) -> None:
    repack(source / "pytorch_model.bin", order=lambda names: [names[0], *reversed(names[1:])])
    fg = convert_unchecked(source, tmp_path / "fg")
    result = load_file(convert_unchecked(fg, tmp_path / "back") / "model.safetensors")
    expected = random_state(_LLAMA, torch.float32)
    assert set(result) == set(expected)
    assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_a_compressed_file_is_an_error_that_is_reported(source: Path, tmp_path: Path) -> None:
    repack(source / "pytorch_model.bin", compression=zipfile.ZIP_DEFLATED)
    result = forgather("convert", source, tmp_path / "fg")
    assert result.returncode == 1
    assert "compressed" in result.stderr
    assert not (tmp_path / "fg").exists()
