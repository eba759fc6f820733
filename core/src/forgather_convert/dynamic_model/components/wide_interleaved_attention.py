"""Attention that rotates neighbouring dimensions in float32."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_rotary, rotate_pairs


class WideInterleavedAttention(CausalAttention):
    """Causal attention with the angles of ``InterleavedRotaryEmbedding``, or of the wide one.

    All dimensions are rotated, and the rotation is rounded once, at its end.
    """

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_rotary(heads.float(), position_embeddings, rotate_pairs).to(heads.dtype)
