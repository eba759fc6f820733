"""The attention of ERNIE 4.5."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .rotary_embedding import apply_rotary, rotate_pairs


class ErnieAttention(CausalAttention):
    """Causal attention with the angles of ``WideInterleavedRotaryEmbedding``.

    Heads become float32 where they are multiplied by the angles. Two gradients, each rounded to
    their dtype, are added.
    """

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_rotary(heads, position_embeddings, rotate_pairs).to(heads.dtype)
