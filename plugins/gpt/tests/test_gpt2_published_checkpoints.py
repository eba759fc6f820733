"""GPT-2 as it is published: names without a prefix, and the causal mask in every layer."""

from pathlib import Path

import torch

from forgather_convert.testing.converted import Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_weights, write_model, write_weights
from forgather_convert_gpt.gpt2 import GPT2


def test_names_and_masks_come_back(tmp_path: Path) -> None:
    family = Family(GPT2())
    fields = GPT2().get_tiny_configs()["tied-with-dropout"]
    source = write_model(tmp_path / "hf", family.hooks, fields)
    state = {
        name.removeprefix("transformer."): tensor for name, tensor in read_weights(source).items()
    }
    for layer in range(fields["n_layer"]):
        state[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 128, 128).tril()
        state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    write_weights(source, state)
    fg = family.convert(source, tmp_path / "fg", logit_check=True)
    assert not [name for name in read_weights(fg) if "mask" in name or "attn" in name]
    assert differences(source, family.convert(fg, tmp_path / "back")) == []


def test_the_logit_check_stays_within_the_positions(tmp_path: Path) -> None:
    family = Family(GPT2())
    fields = {**GPT2().get_tiny_configs()["tied-with-dropout"], "n_positions": 8}
    source = write_model(tmp_path / "hf", family.hooks, fields)
    result = family.conversion(source, tmp_path / "fg", logit_check=True)
    assert result.logits is not None
    prompt, *others = result.logits.runs
    assert prompt == "the prompt (6 tokens) and 2 cached steps"
    assert others == ["1 token", "2 tokens", "a batch of 2 with left padding"]
