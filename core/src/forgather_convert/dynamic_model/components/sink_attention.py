"""Attention whose heads may attend to nothing."""

from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import CausalAttention, repeat_kv


def sink_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    s_aux: torch.Tensor,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, with an additional sink logit per head, ``s_aux``.

    Heads are ``[batch, heads, sequence, head_dim]``; the output is ``[batch, sequence, heads,
    head_dim]``. The softmax is in the dtype of the scores, which are below zero so that it does not
    overflow.
    """
    groups: Any = module.num_key_value_groups
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    sinks = s_aux.reshape(1, -1, 1, 1).expand(query.shape[0], -1, query.shape[-2], -1)
    scores = torch.cat([scores, sinks], dim=-1)
    scores = scores - scores.max(dim=-1, keepdim=True).values
    weights = nn.functional.softmax(scores, dim=-1, dtype=scores.dtype)[..., :-1]
    weights = nn.functional.dropout(weights, p=dropout, training=module.training).to(value.dtype)
    output = torch.matmul(weights, value).transpose(1, 2).contiguous()
    return output, weights


class SinkAttention(CausalAttention):
    """Causal attention with a learned sink logit per query head.

    Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023.
    """

    eager = staticmethod(sink_attention_forward)
    # The sinks are not divided among devices.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.sinks = nn.Parameter(torch.empty(config.num_attention_heads))

    def initialize(self) -> None:
        """Initializes sinks randomly, like matrices."""
        nn.init.normal_(self.sinks, std=self.config.initializer_range)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        # In halves that are joined, as transformers does: the order in which a product is summed
        # depends on the memory layout of its factors.
        cos, sin = (angles.chunk(2, dim=-1)[0] for angles in position_embeddings)
        first, second = heads.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def attention_options(self) -> dict[str, Any]:
        return {**super().attention_options(), "s_aux": self.sinks}
