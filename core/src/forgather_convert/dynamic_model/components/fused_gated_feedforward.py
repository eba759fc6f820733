"""A gated feed-forward block with a single projection for gate and up."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.activations import ACT2FN


class FusedGatedFeedforward(nn.Module):
    """``down(up * activation(gate))``, where ``gate`` and ``up`` are the halves of one product.

    The last bits of a product depend on its shape, so two smaller products would differ. The inner
    size is the config's ``intermediate_size``, unless it is given.
    """

    # The halves of the one matrix cannot be divided together.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, intermediate_size: int | None = None) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.mlp_bias
        inner = intermediate_size or config.intermediate_size
        self.gate_up_proj = nn.Linear(hidden, 2 * inner, bias=bias)
        self.down_proj = nn.Linear(inner, hidden, bias=bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up_proj(hidden_states).chunk(2, dim=-1)
        output: torch.Tensor = self.down_proj(up * self.activation(gate))
        return output
