"""Attention that normalizes queries and keys before they are split into heads."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import CausalAttention, Heads


class ProjectionNormAttention(CausalAttention):
    """Causal attention with one norm over all query heads, and one over all key heads."""

    # A norm needs all of its heads, so tensor parallelism must not split them.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, layer_idx: int, make_norm: Callable[[int], nn.Module]) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = make_norm(config.num_attention_heads * self.head_dim)
        self.k_norm = make_norm(config.num_key_value_heads * self.head_dim)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        return (
            self.q_norm(self.query_linear(hidden_states)).view(shape),
            self.k_norm(self.key_linear(hidden_states)).view(shape),
            self.value_linear(hidden_states).view(shape),
        )

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Rotates in the angles' dtype, and rounds once at the end."""
        return super().rotate_heads(heads, position_embeddings).to(heads.dtype)
