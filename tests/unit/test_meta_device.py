"""Models on the meta device are built without drawing their initial values."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from forgather_convert.models.meta_device import WithoutRandomValues


def test_nothing_is_drawn_on_the_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(torch._refs, "normal", lambda *args, **kwargs: drawn.append(args))
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=8
    )
    with torch.device("meta"), WithoutRandomValues():
        model = LlamaForCausalLM(config)
        torch.nn.init.trunc_normal_(tensor=model.lm_head.weight)
    assert drawn == []
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_other_tensors_get_values() -> None:
    with WithoutRandomValues():
        tensor = torch.zeros(8).normal_()
        torch.nn.init.uniform_(torch.zeros(8))
    assert tensor.any()
