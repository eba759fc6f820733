"""Attention whose output has a gate."""

from typing import Any

import torch

from .causal_attention import Heads
from .qk_norm_attention import QKNormAttention
from .rotary_embedding import apply_partial_rotary


class GatedAttention(QKNormAttention):
    """Multiplies the output by a gate, which each query head has in the same projection.

    Qiu et al., "Gated Attention for Large Language Models", 2025.
    """

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        super().build_projections(config, 2 * query_size, key_value_size)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = hidden_states.shape[:-1]
        queries = self.query_linear(hidden_states).view(*shape, -1, 2 * self.head_dim)
        query, gate = queries.chunk(2, dim=-1)
        key = self.key_linear(hidden_states).view(*shape, -1, self.head_dim)
        value = self.value_linear(hidden_states).view(*shape, -1, self.head_dim)
        return self.q_norm(query), self.k_norm(key), value, gate.reshape(*shape, -1)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_partial_rotary(heads, position_embeddings)

    def merge_heads(
        self, output: torch.Tensor, shape: tuple[int, ...], *projected: torch.Tensor
    ) -> torch.Tensor:
        (gate,) = projected
        return super().merge_heads(output, shape) * torch.sigmoid(gate)
