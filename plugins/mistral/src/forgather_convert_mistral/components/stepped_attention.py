"""The attention of Ministral 3."""

from typing import Any

import torch

from .causal_attention import CausalAttention


class SteppedAttention(CausalAttention):
    """Causal attention, with the positions of ``SteppedRotaryEmbedding``."""

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin, factors = position_embeddings
        query, key = super().rotate(query, key, (cos, sin))
        return query * factors.to(query.dtype), key
