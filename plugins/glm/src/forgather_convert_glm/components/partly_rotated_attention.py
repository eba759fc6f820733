"""Attention that rotates the first dimensions of each head."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_partial_rotary


class PartlyRotatedAttention(CausalAttention):
    """Causal attention whose rotated heads are contiguous, even if all of each head is rotated."""

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            apply_partial_rotary(query, position_embeddings),
            apply_partial_rotary(key, position_embeddings),
        )
