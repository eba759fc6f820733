"""Rotary positions, and a temperature for layers without them."""

from typing import Any

import torch

from .complex_rotary_embedding import ComplexRotaryEmbedding
from .context import Context


class TemperedRotaryEmbedding(ComplexRotaryEmbedding):
    """Rotations as complex numbers, and a factor for the queries of each position.

    The factor grows with the number of earlier tokens, in steps of the config's ``floor_scale``.
    Nakanishi, "Scalable-Softmax Is Superior for Attention", 2025.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.floor_scale = config.floor_scale
        self.attn_scale = config.attn_scale

    def forward(self, hidden_states: torch.Tensor, context: Context) -> dict[str, Any]:
        """Returns the rotations and ``[1, sequence, 1, 1]`` in float32."""
        device = hidden_states.device
        positions = torch.arange(hidden_states.shape[1], device=device) + context.num_seen
        steps = torch.floor((positions.float() + 1.0) / self.floor_scale)
        factors = (torch.log1p(steps) * self.attn_scale + 1.0).view(1, -1, 1, 1)
        turns = super().forward(hidden_states, context)
        return {kind: (each, factors) for kind, each in turns.items()}
