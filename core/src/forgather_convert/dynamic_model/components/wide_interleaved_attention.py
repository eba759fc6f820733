"""Attention that rotates neighbouring dimensions in float32."""

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_rotary, rotate_pairs


class WideInterleavedAttention(CausalAttention):
    """Causal attention with the angles of ``InterleavedRotaryEmbedding``, or of the wide one.

    All dimensions are rotated, and the rotation is rounded once, at its end.
    """

    def rotate(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            apply_rotary(query.float(), position_embeddings, rotate_pairs).to(query.dtype),
            apply_rotary(key.float(), position_embeddings, rotate_pairs).to(key.dtype),
        )
