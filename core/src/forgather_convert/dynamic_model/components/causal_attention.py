"""Grouped-query attention with rotary positions and an optional sliding window."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention_masks import attention_types
from .cache_arguments import CACHE
from .layer_config import layer_config
from .rotary_embedding import apply_rotary

Heads = tuple[torch.Tensor, ...]


def repeat_kv(heads: torch.Tensor, times: int) -> torch.Tensor:
    """Repeats every key or value head for the query heads that share it."""
    if times == 1:
        return heads
    batch, count, length, size = heads.shape
    heads = heads[:, :, None, :, :].expand(batch, count, times, length, size)
    return heads.reshape(batch, count * times, length, size)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    divisor: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, which also returns the weights.

    Scores are multiplied by ``scaling``, or else divided by ``divisor``: their last bits differ.
    Heads are ``[batch, heads, sequence, head_dim]``; the output is ``[batch,
    sequence, heads, head_dim]``, as in transformers' attention functions.
    """
    groups: Any = module.num_key_value_groups
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = torch.matmul(query, key.transpose(2, 3))
    scores = scores * scaling if divisor is None else scores / divisor
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    output = torch.matmul(weights, value).transpose(1, 2).contiguous()
    return output, weights


def score_scaling(config: Any) -> float:
    """The factor of the scores.

    It is the config's ``attention_multiplier``; without one, one over the square root of
    ``query_pre_attn_scalar``, and without that, of the size of a head.
    """
    multiplier = getattr(config, "attention_multiplier", None)
    if multiplier is not None:
        return float(multiplier)
    scalar = getattr(config, "query_pre_attn_scalar", None)
    return float((config.head_dim if scalar is None else scalar) ** -0.5)


class CausalAttention(nn.Module):
    """Causal attention, with the implementation that the config selects.

    Its steps are methods that subclasses can override: ``build_projections``, ``project``,
    ``rotate`` (or ``rotate_heads``, for queries and keys alike), ``update_cache``, ``heads``,
    ``attention_options`` (arguments of the attention function, such as ``{"softcap": 50.0}``) and
    ``merge_heads``. The call of the attention function itself must stay in ``forward``, where vLLM
    looks for it.

    Scores are scaled by the config's ``attention_multiplier`` or ``query_pre_attn_scalar``, if it
    has one.

    A config may specify the layers with rotary positions in ``no_rope_layers``: 1 for a layer with
    them, 0 for one without positions, as in transformers. It may have
    ``flex_attn_kernel_options``, a dictionary for the kernel of flex attention.

    Attributes:
        tp_plan: How the projections are divided among devices.
        eager: The attention function for the implementation ``"eager"``.
        sdpa: The one for ``"sdpa"``, if it is not transformers' own.
    """

    tp_plan: ClassVar[dict[str, str]] = {
        "query_linear": "colwise",
        "key_linear": "colwise",
        "value_linear": "colwise",
        "output_linear": "rowwise",
    }
    eager: ClassVar[Callable[..., Any]] = staticmethod(eager_attention_forward)
    sdpa: ClassVar[Callable[..., Any] | None] = None

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        config = layer_config(config, layer_idx)
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = score_scaling(config)
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        is_sliding = attention_types(config)[layer_idx] == "sliding_attention"
        self.sliding_window = config.sliding_window if is_sliding else None
        rope_layers = getattr(config, "no_rope_layers", None)
        self.has_rope = rope_layers is None or bool(rope_layers[layer_idx])

        query_size = config.num_attention_heads * self.head_dim
        self.build_projections(config, query_size, config.num_key_value_heads * self.head_dim)
        output_bias = getattr(config, "attention_output_bias", config.attention_bias)
        size = config.num_attention_heads * self.value_dim(config)
        self.output_linear = nn.Linear(size, config.hidden_size, bias=output_bias)

    def value_dim(self, config: Any) -> int:
        """The size of a value head."""
        return int(config.head_dim)

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        """Builds the linear layers that ``project`` uses."""
        hidden, bias = config.hidden_size, config.attention_bias
        self.query_linear = nn.Linear(hidden, query_size, bias=bias)
        self.key_linear = nn.Linear(hidden, key_value_size, bias=bias)
        self.value_linear = nn.Linear(hidden, key_value_size, bias=bias)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        """Query, key and value heads, each ``[batch, sequence, heads, head_dim]``.

        Anything after them is for ``merge_heads``.
        """
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        return (
            self.query_linear(hidden_states).view(shape),
            self.key_linear(hidden_states).view(shape),
            self.value_linear(hidden_states).view(shape),
        )

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Applies the positions to query and key, each ``[batch, heads, sequence, head_dim]``."""
        return (
            self.rotate_heads(query, position_embeddings),
            self.rotate_heads(key, position_embeddings),
        )

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Applies the positions to either of them."""
        return apply_rotary(heads, position_embeddings)

    def update_cache(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        past_key_values: Any,
        cache_position: torch.Tensor | None,
        kwargs: dict[str, Any],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds key and value to the cache, if there is one, and returns its whole content.

        The cache of transformers' continuous batching also changes ``kwargs``, the additional
        arguments of the attention function.
        """
        if past_key_values is None:
            return key, value
        if CACHE == "cache":
            key, value = past_key_values.update(key, value, self.layer_idx, kwargs=kwargs)
        else:
            # transformers 4 needs the position for a static cache.
            key, value = past_key_values.update(
                key, value, self.layer_idx, {"cache_position": cache_position}
            )
        return key, value

    def heads(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Any,
        past_key_values: Any,
        cache_position: torch.Tensor | None,
        kwargs: dict[str, Any],
    ) -> Heads:
        """Query, key and value as the attention function gets them, keys from the cache included.

        The heads are ``[batch, heads, sequence, head_dim]``. Anything after them is for
        ``merge_heads``. ``kwargs`` are the additional arguments of the attention function.
        """
        query, key, value, *projected = self.project(hidden_states)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        if self.has_rope and position_embeddings is not None:
            query, key = self.rotate(query, key, position_embeddings)
        key, value = self.update_cache(key, value, past_key_values, cache_position, kwargs)
        return query, key, value, *projected

    def attention_options(self) -> dict[str, Any]:
        """Additional arguments of the attention function."""
        kernel_options = getattr(self.config, "flex_attn_kernel_options", None)
        return {"kernel_options": kernel_options} if kernel_options else {}

    def merge_heads(
        self, output: torch.Tensor, shape: tuple[int, ...], *projected: torch.Tensor
    ) -> torch.Tensor:
        """Joins the heads, ``[*shape, heads, size]``, to ``[*shape, heads * size]``.

        ``projected`` is what ``project`` returned after the heads.
        """
        return output.reshape(*shape, -1).contiguous()

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
        """Returns ``[batch, sequence, hidden]``, and adds the weights to ``all_attentions``."""
        query, key, value, *projected = self.heads(
            hidden_states, position_embeddings, past_key_values, cache_position, kwargs
        )
        attend: Callable[..., Any] = self.eager
        implementation = self.config._attn_implementation
        if implementation == "sdpa" and self.sdpa is not None:
            attend = self.sdpa
        elif implementation != "eager":
            attend = ALL_ATTENTION_FUNCTIONS[implementation]
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            sliding_window=self.sliding_window,
            **self.attention_options(),
            **kwargs,
        )
        if all_attentions is not None:
            all_attentions.append(weights)
        output = self.merge_heads(output, hidden_states.shape[:-1], *projected)
        result: torch.Tensor = self.output_linear(output)
        return result
