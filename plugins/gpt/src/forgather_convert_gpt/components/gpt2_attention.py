"""The attention of GPT-2, as the installed transformers computes it.

Version 5.4 and later use one factor for the scores in all implementations. Earlier versions divide
by it in eager attention only, and use the default factor in other implementations. Up to 5.1 they
also exclude the future before the mask does.
"""

from typing import Any

import torch
import transformers
from torch import nn

from .fused_attention import FusedAttention
from .projection import Projection

_VERSION = tuple(map(int, transformers.__version__.split(".")[:2]))
DIVIDES_SCORES = _VERSION < (5, 4)
LEAVES_OUT_FUTURE = _VERSION < (5, 2)


def scores_in_float32(attention: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Scaled scores, ``[batch, heads, queries, keys]``, whatever the dtype of the heads."""
    batch, heads, length, size = query.shape
    key = key.transpose(-1, -2).reshape(-1, size, key.shape[-2])
    query = query.reshape(-1, length, size)
    with torch.autocast(query.device.type, enabled=False):
        scores = query.new_empty(batch * heads, length, key.shape[-1], dtype=torch.float32)
        scores = torch.baddbmm(
            scores, query.float(), key.float(), beta=0, alpha=attention.score_scaling
        )
    return scores.reshape(batch, heads, length, -1)


def divided_scores(attention: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Scaled scores, computed by consecutive divisions."""
    scores = torch.matmul(query, key.transpose(-1, -2))
    if attention.config.scale_attn_weights:
        root = query.shape[-1] ** 0.5
        scores = scores / torch.full([], root, dtype=scores.dtype, device=scores.device)
    if attention.config.scale_attn_by_inverse_layer_idx:
        scores = scores / float(attention.layer_idx + 1)
    return scores


def without_future(scores: torch.Tensor) -> torch.Tensor:
    """Scores with the lowest number for later keys; the last query is at the last key."""
    queries, keys = scores.shape[-2:]
    positions = torch.arange(keys, device=scores.device)
    is_past = positions <= positions[keys - queries :, None]
    least = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
    return torch.where(is_past, scores, least)


def eager_attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, with a softmax in the dtype of the scores."""
    if module.config.reorder_and_upcast_attn:
        scores = scores_in_float32(module, query, key)
    elif DIVIDES_SCORES:
        scores = divided_scores(module, query, key)
    else:
        scores = torch.matmul(query, key.transpose(-1, -2)) * module.score_scaling
    if LEAVES_OUT_FUTURE:
        scores = without_future(scores)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(scores, dim=-1).type(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class GPT2Attention(FusedAttention):
    """Causal attention without rotary positions, with ``[in, out]`` matrices."""

    eager = staticmethod(eager_attention_forward)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        hidden = config.hidden_size
        self.output_linear = Projection(config, hidden, hidden, leads_back=True)
        self.score_scaling = self.head_dim**-0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.score_scaling /= float(layer_idx + 1)
        self.scaling = None if DIVIDES_SCORES else self.score_scaling

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        self.sizes = (query_size, key_value_size, key_value_size)
        self.qkv_linear = Projection(config, config.hidden_size, sum(self.sizes))
