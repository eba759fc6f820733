"""The attention of GPT-NeoX."""

from typing import ClassVar

import torch

from .causal_attention import Heads
from .fused_attention import FusedAttention


class NeoXAttention(FusedAttention):
    """Causal attention with one matrix: the query, key and value of one head after the other."""

    tp_plan: ClassVar[dict[str, str]] = {"qkv_linear": "colwise", "output_linear": "rowwise"}

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = (*hidden_states.shape[:-1], -1, 3 * self.head_dim)
        query, key, value = self.qkv_linear(hidden_states).view(shape).chunk(3, dim=-1)
        return query, key, value
