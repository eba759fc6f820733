"""A feed-forward block without a gate."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.activations import ACT2FN


class Feedforward(nn.Module):
    """``down(activation(up(x)))``.

    Vaswani et al., "Attention Is All You Need", 2017. The inner size is the config's
    ``intermediate_size``, unless it is given.
    """

    tp_plan: ClassVar[dict[str, str]] = {"up_proj": "colwise", "down_proj": "rowwise"}

    def __init__(self, config: Any, intermediate_size: int | None = None) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.mlp_bias
        inner = intermediate_size or config.intermediate_size
        self.up_proj = nn.Linear(hidden, inner, bias=bias)
        self.down_proj = nn.Linear(inner, hidden, bias=bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.down_proj(self.activation(self.up_proj(hidden_states)))
        return output
