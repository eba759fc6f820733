"""Attention with interleaved rotary positions, which rotate pairs of adjacent dimensions."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_partial_rotary, rotate_pairs


class InterleavedAttention(CausalAttention):
    """Causal attention with the angles of ``InterleavedRotaryEmbedding``, for all or some pairs."""

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_partial_rotary(heads, position_embeddings, rotate_pairs)
