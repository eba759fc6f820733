"""What is fixed in a family's code is in the Forgather config, and in no Hugging Face one.

Qwen2 is the example: it has biases on queries, keys and values only, and no field says so.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen2ForCausalLM

from forgather_convert import UnsupportedModelError, convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER
from forgather_convert.testing.models import write_model
from forgather_convert_qwen2.qwen2 import Qwen2
from support.directories import differences
from support.models import load_forgather, prompt


@pytest.fixture
def model(tmp_path: Path) -> Path:
    hooks = FamilyHooks(Qwen2(), "test")
    return write_model(tmp_path / "hf", hooks, TINY_DECODER, "bfloat16")


@torch.no_grad()
def test_without_the_original_the_config_has_no_forgather_fields(
    model: Path, tmp_path: Path
) -> None:
    """The biases are fixed in Qwen2's code: its configs do not have them."""
    convert(model, tmp_path / "fg", converter=Qwen2())
    config = json.loads((tmp_path / "fg" / "config.json").read_text())
    assert (config["attention_bias"], config["attention_output_bias"]) == (True, False)
    (tmp_path / "fg" / "forgather_conversion.json").unlink()
    convert(tmp_path / "fg", tmp_path / "back", converter=Qwen2())
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert [name for name in back if "bias" in name] == []
    hf = Qwen2ForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.bfloat16)
    fg = load_forgather(tmp_path / "fg", dtype=torch.bfloat16)
    assert torch.equal(hf(prompt()).logits, fg(prompt()).logits)


def test_stray_fields_of_a_source_are_ignored_as_transformers_ignores_them(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_bias": False}))
    convert(model, model.with_name("fg"), converter=Qwen2())
    config = json.loads((model.with_name("fg") / "config.json").read_text())
    assert config["attention_bias"] is True
    convert(model.with_name("fg"), model.with_name("back"), converter=Qwen2())
    assert differences(model, model.with_name("back")) == []


def test_a_bias_that_qwen2_cannot_have_is_refused(model: Path, tmp_path: Path) -> None:
    fg = tmp_path / "fg"
    convert(model, fg, converter=Qwen2())
    path = fg / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_output_bias": True}))
    with pytest.raises(UnsupportedModelError, match="attention_output_bias"):
        convert(fg, tmp_path / "back", converter=Qwen2())
