"""A feed-forward block with two factors."""

from typing import Any

import torch

from .gated_feedforward import GatedFeedforward


class ScaledFeedforward(GatedFeedforward):
    """A gated block, its gate and its output multiplied by the config's ``mlp_multipliers``."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.gate_factor, self.output_factor = config.mlp_multipliers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        gate = self.activation(self.gate_proj(hidden_states) * self.gate_factor)
        output: torch.Tensor = self.down_proj(self.up_proj(hidden_states) * gate)
        return output * self.output_factor
