"""Attention with a norm whose weight differs by head."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import Heads
from .wide_interleaved_attention import WideInterleavedAttention


class HeadNormAttention(WideInterleavedAttention):
    """Causal attention with a norm over each query and key head, with a weight for each head."""

    # A norm has the weights of all heads.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        config: Any,
        layer_idx: int,
        make_norm: Callable[[tuple[int, int]], nn.Module],
    ) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = make_norm((config.num_attention_heads, self.head_dim))
        self.k_norm = make_norm((config.num_key_value_heads, self.head_dim))

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = super().project(hidden_states)
        return self.q_norm(query), self.k_norm(key), value
