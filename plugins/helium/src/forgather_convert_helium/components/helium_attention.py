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

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_rotary(heads, position_embeddings, rotate_pairs)
