"""Fields of the Forgather framework's configs that change how a model trains."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig

from support.models import load_forgather, prompt
from support.pairs import Pair
from support.variants import variant

pytestmark = [
    pytest.mark.parametrize("variant", [variant("llama-default")], ids=["llama-default"]),
    pytest.mark.parametrize("dtype", ["float32"]),
]
RATE = 0.25


def load(pair: Pair, **fields: Any) -> Any:
    """The Forgather model, with further fields in its config."""
    config = AutoConfig.from_pretrained(pair.fg, trust_remote_code=True)
    for name, value in fields.items():
        setattr(config, name, value)
    return load_forgather(pair.fg, config=config, attn_implementation="eager")


def train(pair: Pair, **fields: float) -> tuple[Any, list[str]]:
    """The logits in training mode, and the names of the modules that dropped something."""
    model = load(pair, **fields).train()
    dropped: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: dropped.append(name)
            )
    torch.manual_seed(7)
    return model(prompt()).logits, dropped


@pytest.mark.parametrize(
    ("field", "places"),
    [
        ("embedding_dropout", ["causal_lm.input_encoder.dropout"]),
        ("layer_dropout", ["causal_lm.layer_stack.layers.0.dropout"] * 2),
        ("residual_dropout", ["causal_lm.layer_stack.layers.0.residual_dropout"] * 2),
        ("activation_dropout", ["causal_lm.layer_stack.layers.0.feedforward.dropout"]),
    ],
)
def test_dropout(pair: Pair, field: str, places: list[str]) -> None:
    plain, nothing = train(pair)
    logits, dropped = train(pair, **{field: RATE})
    assert nothing == []
    assert dropped[: len(places)] == places
    assert not torch.equal(logits, plain)


def test_residual_and_layer_dropout_are_those_of_the_framework(pair: Pair) -> None:
    """``x`` becomes ``residual_dropout(x) + layer_dropout(block(norm(x)))``, twice."""
    model = load(pair, layer_dropout=RATE, residual_dropout=RATE)
    layer = model.causal_lm.layer_stack.layers[0].train()
    hidden_states = torch.randn(2, 5, model.config.hidden_size)
    expected = hidden_states
    torch.manual_seed(3)
    for norm, block in ((layer.norm1, layer.attention), (layer.norm2, layer.feedforward)):
        output = block(norm(expected))
        kept = nn.functional.dropout(expected, RATE)
        expected = kept + nn.functional.dropout(output, RATE)
    torch.manual_seed(3)
    assert torch.equal(layer(hidden_states), expected)


def test_kernel_options_reach_the_attention_function(pair: Pair) -> None:
    options = {"BLOCK_M": 16}
    model = load(pair, flex_attn_kernel_options=options)
    attention = model.causal_lm.layer_stack.layers[0].attention
    given: list[Any] = []
    eager = attention.eager

    def attend(*arguments: Any, **keywords: Any) -> Any:
        given.append(keywords["kernel_options"])
        return eager(*arguments, **keywords)

    attention.eager = attend
    model(prompt())
    assert given == [options]
