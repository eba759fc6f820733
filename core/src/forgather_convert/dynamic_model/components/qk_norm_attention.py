"""Attention that normalizes query and key heads before rotating them."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import CausalAttention, Heads


class QKNormAttention(CausalAttention):
    """Causal attention with a norm over each query and key head.

    Henry et al., "Query-Key Normalization for Transformers", 2020.
    """

    tp_plan: ClassVar[dict[str, str]] = {
        "query_linear": "colwise",
        "key_linear": "colwise",
        "value_linear": "colwise",
        "q_norm": "replicated_with_grad_allreduce",
        "k_norm": "replicated_with_grad_allreduce",
        "output_linear": "rowwise",
    }

    def __init__(self, config: Any, layer_idx: int, make_norm: Callable[[int], nn.Module]) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = make_norm(self.head_dim)
        self.k_norm = make_norm(self.head_dim)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = super().project(hidden_states)
        return self.q_norm(query), self.k_norm(key), value


class TransposedQKNormAttention(QKNormAttention):
    """A QK norm attention that normalizes after heads and sequence are swapped.

    The logits are the same; the gradients of the norms' weights add up in another order.
    """

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = CausalAttention.project(self, hidden_states)
        return (
            self.q_norm(query.transpose(1, 2)).transpose(1, 2),
            self.k_norm(key.transpose(1, 2)).transpose(1, 2),
            value,
        )
