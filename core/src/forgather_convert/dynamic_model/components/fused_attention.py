"""Attention with a single projection for queries, keys and values."""

from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import CausalAttention, Heads
from .rotary_embedding import apply_partial_rotary


class FusedAttention(CausalAttention):
    """Causal attention with one matrix: all queries, then all keys, then all values.

    The last bits of a product depend on its shape, so three smaller products would differ.
    """

    # The parts of the one matrix cannot be divided evenly.
    tp_plan: ClassVar[dict[str, str]] = {}

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        self.sizes = (query_size, key_value_size, key_value_size)
        self.qkv_linear = nn.Linear(config.hidden_size, sum(self.sizes), bias=config.attention_bias)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query, key, value = self.qkv_linear(hidden_states).split(self.sizes, dim=-1)
        return query.view(shape), key.view(shape), value.view(shape)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_partial_rotary(heads, position_embeddings)
