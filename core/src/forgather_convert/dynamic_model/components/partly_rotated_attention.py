"""Attention that rotates the first dimensions of each head."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .divided_attention import DividedAttention
from .rotary_embedding import apply_partial_rotary


class PartlyRotatedAttention(CausalAttention):
    """Causal attention whose rotated heads are contiguous, even if all of each head is rotated."""

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_partial_rotary(heads, position_embeddings)


class DividedPartlyRotatedAttention(PartlyRotatedAttention, DividedAttention):
    """The same with scores that are divided, as in ``DividedAttention``."""
