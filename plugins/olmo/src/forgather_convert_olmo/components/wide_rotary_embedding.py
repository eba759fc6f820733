"""Rotary embeddings whose cosines and sines are not rounded."""

import torch

from .rotary_embedding import RotaryEmbedding


class WideRotaryEmbedding(RotaryEmbedding):
    """Gives float32, whatever the hidden states are."""

    def forward(
        self, hidden_states: torch.Tensor, position_ids: torch.Tensor
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return super().forward(hidden_states.new_empty(0, dtype=torch.float32), position_ids)
