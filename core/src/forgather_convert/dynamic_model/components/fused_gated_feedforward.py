"""A gated feed-forward block with a single projection for gate and up."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.activations import ACT2FN


class FusedGatedFeedforward(nn.Module):
    """``down(up * activation(gate))``, where ``gate`` and ``up`` are the halves of one product.

    The last bits of a product depend on its shape, so two smaller products would differ.
    """

    # The halves of the one matrix cannot be divided together.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_up_proj = nn.Linear(hidden, 2 * inner, bias=bias)
        self.down_proj = nn.Linear(inner, hidden, bias=bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up_proj(hidden_states).chunk(2, dim=-1)
        output: torch.Tensor = self.down_proj(up * self.activation(gate))
        return output
