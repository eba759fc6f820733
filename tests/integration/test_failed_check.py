"""A result that does not compute what the source computes is not written."""

from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, ValidationError, api, convert
from forgather_convert.execution.executor import execute
from forgather_convert.planning.plan import ConversionPlan
from support.command import forgather
from support.models import write_hf_model
from support.running_conversion import remains
from support.variants import variant
from support.wrong_converter import write_wrong_converter

#: Queries and keys have the same shape, so that they can be mistaken for each other.
LLAMA = variant("llama-mha")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    return write_wrong_converter(tmp_path / "wrong")


def test_failed_logit_check_writes_nothing(source: Path, destination: Path, wrong: Path) -> None:
    """The names and shapes of a wrong mapping are all right; only the logits tell."""
    result = forgather("convert", "--converter-path", wrong, source, destination)
    assert result.returncode == 1
    assert "Model logits are dissimilar" in result.stderr
    assert "--debug-params" in result.stderr
    assert "--no-logit-check" in result.stderr
    assert "Traceback" not in result.stderr
    assert not destination.exists()
    assert remains(destination) == []


def test_failed_logit_check_on_the_way_back(
    source: Path, destination: Path, tmp_path: Path, wrong: Path
) -> None:
    convert(source, tmp_path / "fg")
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        convert(tmp_path / "fg", destination, ConvertOptions(converter_paths=(wrong,)))
    assert not destination.exists()


def test_logit_check_can_be_left_out(source: Path, destination: Path, wrong: Path) -> None:
    options = ConvertOptions(converter_paths=(wrong,), logit_check=False)
    assert convert(source, destination, options).logits is None
    assert (destination / "config.json").is_file()


def test_logit_check_sees_a_single_wrong_byte(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is read back from the disk, not from memory."""

    def execute_badly(plan: ConversionPlan, staged: Path, *arguments: Any) -> None:
        execute(plan, staged, *arguments)
        weights = staged / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 0x40
        weights.write_bytes(data)

    monkeypatch.setattr(api, "execute", execute_badly)
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        convert(source, destination)
    assert not destination.exists()


def test_parents_that_were_created_are_removed_again(
    source: Path, tmp_path: Path, wrong: Path
) -> None:
    with pytest.raises(ValidationError):
        convert(source, tmp_path / "new" / "deep" / "out", ConvertOptions(converter_paths=(wrong,)))
    assert not (tmp_path / "new").exists()
