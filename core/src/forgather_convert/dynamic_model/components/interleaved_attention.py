"""Attention with interleaved rotary positions, which rotate pairs of adjacent dimensions."""

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_partial_rotary, rotate_pairs


class InterleavedAttention(CausalAttention):
    """Causal attention with the angles of ``InterleavedRotaryEmbedding``, for all or some pairs."""

    def rotate(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            apply_partial_rotary(query, position_embeddings, rotate_pairs),
            apply_partial_rotary(key, position_embeddings, rotate_pairs),
        )
