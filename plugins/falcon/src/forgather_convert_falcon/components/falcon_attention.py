"""The attention of Falcon."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .causal_attention import CausalAttention, Heads
from .rotary_embedding import apply_rotary
from .unfused_linear import UnfusedLinear


def eager_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    biases: torch.Tensor | None,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, with a softmax in the dtype of the query.

    Biases of keys are in the mask, too: they count twice, which is how transformers computes.
    """
    scores = query @ key.transpose(-1, -2)
    if biases is None:
        scores = scores / math.sqrt(module.head_dim)
    else:
        batch, heads = scores.shape[:2]
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()
        scores = (scores + biases.view(batch, heads, 1, -1)) * (1.0 / math.sqrt(module.head_dim))
    scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(scores, dim=-1, dtype=query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


def sdpa_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    biases: torch.Tensor | None,
    dropout: float,
) -> tuple[torch.Tensor, None]:
    """PyTorch's attention. Other functions of transformers repeat a single head of keys first."""
    if attention_mask is not None:
        attention_mask = attention_mask[:, :, :, : key.shape[-2]]
    is_causal = attention_mask is None and query.shape[2] > 1
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, dropout_p=dropout, is_causal=is_causal
    )
    return output.transpose(1, 2), None


class FalconAttention(CausalAttention):
    """Causal attention with one matrix, in one of three orders of rows.

    With ``new_decoder_architecture``: for each group, its queries, its key and its value. Otherwise
    with ``multi_query``: all queries, the key, the value. Otherwise: the query, key and value of
    one head after the other.

    With ``alibi``, what other attention gets as positions are the biases of ``RoundedAlibi``.
    Almazrouei et al., "The Falcon Series of Open Language Models", 2023.
    """

    # The parts of the one matrix cannot be divided evenly.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        size = config.hidden_size
        self.output_linear = UnfusedLinear(size, size, bias=config.attention_bias)
        self.has_rope = not config.alibi

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        self.qkv_linear = UnfusedLinear(
            config.hidden_size, query_size + 2 * key_value_size, bias=config.attention_bias
        )

    def project(self, hidden_states: torch.Tensor) -> Heads:
        fused, shape = self.qkv_linear(hidden_states), hidden_states.shape[:-1]
        if self.config.new_decoder_architecture:
            groups = fused.view(*shape, -1, self.num_key_value_groups + 2, self.head_dim)
            query = groups[..., :-2, :]
            # In the cache, each query head has a key and a value.
            key, value = (groups[..., [part], :].broadcast_to(query.shape) for part in (-2, -1))
            return query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3)
        if self.config.multi_query:
            heads = fused.view(*shape, -1, self.head_dim)
            return heads[..., :-2, :], heads[..., [-2], :], heads[..., [-1], :]
        heads = fused.view(*shape, -1, 3, self.head_dim)
        return heads[..., 0, :], heads[..., 1, :], heads[..., 2, :]

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        return apply_rotary(heads, position_embeddings)

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
        """Weights are dropped out only if there are biases, as in transformers."""
        query, key, value = self.heads(
            hidden_states, position_embeddings, past_key_values, cache_position, kwargs
        )
        biases = position_embeddings if self.config.alibi else None
        dropout = self.attention_dropout if self.training and biases is not None else 0.0
        own = {"eager": eager_attention, "sdpa": sdpa_attention}
        implementation = self.config._attn_implementation
        if implementation in own:
            attend: Callable[..., Any] = own[implementation]
            output, weights = attend(self, query, key, value, attention_mask, biases, dropout)
        elif biases is None:
            attend = ALL_ATTENTION_FUNCTIONS[implementation]
            output, weights = attend(
                self, query, key, value, attention_mask, scaling=self.scaling, **kwargs
            )
        else:
            raise ValueError(f"{implementation!r} cannot add biases. Use 'eager' or 'sdpa'.")
        if all_attentions is not None:
            all_attentions.append(weights)
        result: torch.Tensor = self.output_linear(
            self.merge_heads(output, hidden_states.shape[:-1])
        )
        return result
