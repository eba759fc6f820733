"""Attention with a factor for the keys."""

from typing import Any

import torch

from .causal_attention import CausalAttention


class ScaledKeyAttention(CausalAttention):
    """Causal attention that multiplies keys by ``key_multiplier`` before they are rotated."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.key_multiplier = config.key_multiplier

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return super().rotate(query, key * self.key_multiplier, position_embeddings)
