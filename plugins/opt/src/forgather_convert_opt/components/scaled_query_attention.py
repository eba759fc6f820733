"""Attention that scales the queries instead of the scores."""

from typing import Any

import torch

from .causal_attention import CausalAttention, Heads


class ScaledQueryAttention(CausalAttention):
    """Causal attention without rotary positions, whose queries are scaled as they are projected."""

    scaling: float

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.query_scaling = self.scaling
        self.scaling = 1.0

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = super().project(hidden_states)
        return query * self.query_scaling, key, value
