"""Attention with a bias for every key."""

import math
from typing import Any

import torch
from torch import nn

from .causal_attention import Heads
from .fused_attention import FusedAttention


def alibi_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    biases: torch.Tensor,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations that adds the biases in the product itself."""
    batch, heads, length, size = query.shape
    query, key, value = (each.reshape(batch * heads, -1, size) for each in (query, key, value))
    scores = biases.baddbmm(query, key.transpose(-1, -2), beta=1.0, alpha=module.scaling)
    scores = scores.view(batch, heads, length, -1)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    output = torch.bmm(weights.view(batch * heads, length, -1), value)
    return output.view(batch, heads, length, size).transpose(1, 2), weights


class AlibiAttention(FusedAttention):
    """Causal attention with one matrix: the query, key and value of one head after the other.

    What other attention gets as positions are the biases of ``Alibi``.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.scaling = 1.0 / math.sqrt(self.head_dim)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = (*hidden_states.shape[:-1], -1, 3, self.head_dim)
        query, key, value = self.qkv_linear(hidden_states).view(shape).unbind(-2)
        return query, key, value

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Any = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        cache_position: torch.Tensor | None = None,
        all_attentions: list[torch.Tensor | None] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Always uses eager attention: no other implementation adds the biases."""
        query, key, value = (heads.transpose(1, 2) for heads in self.project(hidden_states))
        key, value = self.update_cache(key, value, past_key_values, cache_position, kwargs)
        output, weights = alibi_attention(
            self,
            query,
            key,
            value,
            attention_mask,
            position_embeddings,
            dropout=self.attention_dropout if self.training else 0.0,
        )
        if all_attentions is not None:
            all_attentions.append(weights)
        output = self.merge_heads(output, hidden_states.shape[:-1])
        projected: torch.Tensor = self.output_linear(output)
        return projected
