"""Pythia's checkpoints have tensors that no version of transformers reads any more."""

from pathlib import Path

import torch

from forgather_convert.testing.converted import Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_weights, write_model, write_weights
from forgather_convert_gpt.gpt_neox import GPTNeoX


def test_unread_tensors_come_back(tmp_path: Path) -> None:
    """The causal mask, its value and the frequencies, in every layer."""
    family = Family(GPTNeoX())
    fields = GPTNeoX().get_tiny_configs()["parallel-with-dropout"]
    source = write_model(tmp_path / "hf", family.hooks, fields)
    state = read_weights(source)
    for layer in range(fields["num_hidden_layers"]):
        name = f"gpt_neox.layers.{layer}.attention"
        state[f"{name}.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.uint8).tril()
        state[f"{name}.masked_bias"] = torch.tensor(-1e9)
        state[f"{name}.rotary_emb.inv_freq"] = torch.tensor([1.0, 0.01])
    write_weights(source, state)
    fg = family.convert(source, tmp_path / "fg", logit_check=True)
    assert not [name for name in read_weights(fg) if "mask" in name or "inv_freq" in name]
    assert differences(source, family.convert(fg, tmp_path / "back")) == []
