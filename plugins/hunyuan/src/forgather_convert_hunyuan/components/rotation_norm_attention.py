"""Attention that normalizes query and key heads after rotating them."""

from typing import Any

import torch

from .causal_attention import CausalAttention, Heads
from .qk_norm_attention import QKNormAttention


class RotationNormAttention(QKNormAttention):
    """Causal attention with a norm over each rotated query and key head."""

    def project(self, hidden_states: torch.Tensor) -> Heads:
        return CausalAttention.project(self, hidden_states)

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = super().rotate(query, key, position_embeddings)
        return self.q_norm(query), self.k_norm(key)
