"""FlexOlmo, which nobody installed: the directory scanner finds its converter."""

import json
from pathlib import Path

import pytest

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER, scanned_converter
from forgather_convert.testing.models import write_model
from support.command import forgather
from support.directories import differences

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "models" / "flex_olmo" / "src"
FLEX_OLMO = scanned_converter(SOURCE, "flex_olmo")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    fields = {**TINY_DECODER, "num_experts": 3, "num_experts_per_tok": 2}
    return write_model(tmp_path / "hf", FamilyHooks(FLEX_OLMO(), "test"), fields, "bfloat16")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is not a Forgather tree."""
    monkeypatch.delenv("FORGATHER_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_converts_both_ways(model: Path, *options: str, **environment: str) -> None:
    fg, back = model.with_name("fg"), model.with_name("back")
    for source, destination in ((model, fg), (fg, back)):
        process = forgather("convert", *options, source, destination, **environment)
        assert process.returncode == 0, process.stderr
    assert json.loads((fg / "config.json").read_text())["hf_model_type"] == "flex_olmo"
    assert differences(model, back) == []


def test_in_the_working_tree(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORGATHER_ROOT", raising=False)
    monkeypatch.chdir(ROOT)
    assert_converts_both_ways(model)


def test_with_the_root_in_the_environment(model: Path, elsewhere: Path) -> None:
    assert_converts_both_ways(model, FORGATHER_ROOT=str(ROOT))


def test_with_a_converter_path(model: Path, elsewhere: Path) -> None:
    assert_converts_both_ways(model, "--converter-path", str(SOURCE))


def test_elsewhere_it_is_not_found(model: Path, elsewhere: Path) -> None:
    process = forgather("convert", model, elsewhere / "fg")
    assert process.returncode == 1
    assert "No converter registered for model type 'flex_olmo'" in process.stderr
    assert not (elsewhere / "fg").exists()
