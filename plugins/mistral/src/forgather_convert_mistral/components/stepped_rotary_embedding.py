"""Rotary positions, and a temperature for long contexts."""

from typing import Any

import torch

from .context import Context
from .rotary_embedding import RotaryEmbedding


class SteppedRotaryEmbedding(RotaryEmbedding):
    """A rotary embedding with a factor for the queries of each position.

    The factor grows by the RoPE parameter ``llama_4_scaling_beta`` with the logarithm of the
    position, in steps of ``original_max_position_embeddings``. Nakanishi, "Scalable-Softmax Is
    Superior for Attention", 2025.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.beta = config.rope_parameters["llama_4_scaling_beta"]
        self.step = config.rope_parameters["original_max_position_embeddings"]

    def forward(self, hidden_states: torch.Tensor, context: Context) -> dict[str, Any]:
        """Returns cosines, sines and ``[batch, 1, sequence, 1]`` in float32."""
        steps = torch.floor(context.position_ids / self.step)
        factors = (1 + self.beta * torch.log(1 + steps))[:, None, :, None]
        angles = super().forward(hidden_states, context)
        return {kind: (*each, factors) for kind, each in angles.items()}
