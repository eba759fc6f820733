"""The attention of Helium."""

import math
from typing import Any

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_rotary, rotate_pairs


class HeliumAttention(CausalAttention):
    """Causal attention with the angles of ``InterleavedRotaryEmbedding``, of all dimensions."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        # The last bit may differ from that of the power.
        self.scaling = 1 / math.sqrt(self.head_dim)

    def rotate(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            apply_rotary(query, position_embeddings, rotate_pairs),
            apply_rotary(key, position_embeddings, rotate_pairs),
        )
