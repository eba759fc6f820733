"""A gated feed-forward block."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.activations import ACT2FN


class GatedFeedforward(nn.Module):
    """``down(activation(gate(x)) * up(x))``.

    With the silu activation this is SwiGLU: Shazeer, "GLU Variants Improve
    Transformer", 2020. The inner size is the config's ``intermediate_size``, unless it is given.
    A config may have a dropout probability for the product, ``activation_dropout``.
    """

    tp_plan: ClassVar[dict[str, str]] = {
        "gate_proj": "colwise",
        "up_proj": "colwise",
        "down_proj": "rowwise",
    }

    def __init__(self, config: Any, intermediate_size: int | None = None) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.mlp_bias
        inner = intermediate_size or config.intermediate_size
        self.gate_proj = nn.Linear(hidden, inner, bias=bias)
        self.up_proj = nn.Linear(hidden, inner, bias=bias)
        self.down_proj = nn.Linear(inner, hidden, bias=bias)
        self.activation = ACT2FN[config.hidden_act]
        probability = getattr(config, "activation_dropout", 0.0)
        self.dropout = nn.Dropout(probability) if probability else None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        gated = self.activation(self.gate_proj(hidden_states)) * self.up_proj(hidden_states)
        if self.dropout is not None:
            gated = self.dropout(gated)
        output: torch.Tensor = self.down_proj(gated)
        return output
