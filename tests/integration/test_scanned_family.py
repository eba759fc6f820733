"""Qwen2, which nobody installed: the directory scanner finds its converter."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import Qwen2ForCausalLM

from forgather_convert import UnsupportedModelError, convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER, scanned_converter
from forgather_convert.testing.models import write_model
from support.command import forgather
from support.directories import differences
from support.models import load_forgather, prompt

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "models" / "qwen2" / "src"
QWEN2 = scanned_converter(SOURCE, "qwen2")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "hf", FamilyHooks(QWEN2(), "test"), TINY_DECODER, "bfloat16")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory is not a Forgather tree."""
    monkeypatch.delenv("FORGATHER_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_converts_both_ways(model: Path, *options: str, **environment: str) -> None:
    fg, back = model.with_name("fg"), model.with_name("back")
    for source, destination in ((model, fg), (fg, back)):
        process = forgather("convert", *options, source, destination, **environment)
        assert process.returncode == 0, process.stderr
    assert json.loads((fg / "config.json").read_text())["hf_model_type"] == "qwen2"
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
    assert "No converter registered for model type 'qwen2'" in process.stderr
    assert not (elsewhere / "fg").exists()


@torch.no_grad()
def test_without_the_original_the_config_has_no_forgather_fields(
    model: Path, tmp_path: Path
) -> None:
    """The biases are fixed in Qwen2's code: its configs do not have them."""
    convert(model, tmp_path / "fg", converter=QWEN2())
    config = json.loads((tmp_path / "fg" / "config.json").read_text())
    assert (config["attention_bias"], config["attention_output_bias"]) == (True, False)
    (tmp_path / "fg" / "forgather_conversion.json").unlink()
    convert(tmp_path / "fg", tmp_path / "back", converter=QWEN2())
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert [name for name in back if "bias" in name] == []
    hf = Qwen2ForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.bfloat16)
    fg = load_forgather(tmp_path / "fg", dtype=torch.bfloat16)
    assert torch.equal(hf(prompt()).logits, fg(prompt()).logits)


def test_stray_fields_of_a_source_are_ignored_as_transformers_ignores_them(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_bias": False}))
    convert(model, model.with_name("fg"), converter=QWEN2())
    config = json.loads((model.with_name("fg") / "config.json").read_text())
    assert config["attention_bias"] is True
    convert(model.with_name("fg"), model.with_name("back"), converter=QWEN2())
    assert differences(model, model.with_name("back")) == []


def test_a_bias_that_qwen2_cannot_have_is_refused(model: Path, tmp_path: Path) -> None:
    fg = tmp_path / "fg"
    convert(model, fg, converter=QWEN2())
    path = fg / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_output_bias": True}))
    with pytest.raises(UnsupportedModelError, match="attention_output_bias"):
        convert(fg, tmp_path / "back", converter=QWEN2())
