"""Attention with bounded queries, keys and values."""

from typing import Any

import torch

from .causal_attention import CausalAttention, Heads


class ClippedAttention(CausalAttention):
    """Causal attention that keeps what it projects within ``clip_qkv``, if the config has it."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.bound = config.clip_qkv

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = super().project(hidden_states)
        if self.bound is None:
            return query, key, value
        bound = self.bound
        return query.clamp(-bound, bound), key.clamp(-bound, bound), value.clamp(-bound, bound)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Rotates in the angles' dtype, and rounds once at the end."""
        return super().rotate_heads(heads, position_embeddings).to(heads.dtype)
