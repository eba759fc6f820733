"""Attention with normalized heads, and with keys and values of other layers."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from .attention_masks import attention_types
from .causal_attention import CausalAttention, Heads
from .power_rms_norm import normalized


class SharingAttention(CausalAttention):
    """Attention that normalizes queries, keys and values, and may use those of another layer.

    The config's ``kv_sharing_modes`` tell which layers store keys and values for others, and which
    reuse those of the last such layer of their kind. With ``attention_k_eq_v``, if the config has
    it, layers without a window have one projection for keys and values.

    Gemma Team, "Gemma 3n", 2025, and "Gemma 4", 2026.
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
        modes = getattr(config, "kv_sharing_modes", None)
        self.mode = None if modes is None else modes[layer_idx]
        super().__init__(config, layer_idx)
        self.kind = attention_types(config)[layer_idx]
        self.q_norm = make_norm(self.head_dim)
        self.k_norm = None if self.mode == "reuse" else make_norm(self.head_dim)

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        hidden, bias = config.hidden_size, config.attention_bias
        self.query_linear = nn.Linear(hidden, query_size, bias=bias)
        if self.mode == "reuse":
            return
        self.key_linear = nn.Linear(hidden, key_value_size, bias=bias)
        is_one = getattr(config, "attention_k_eq_v", False) and self.sliding_window is None
        self.value_linear = None if is_one else nn.Linear(hidden, key_value_size, bias=bias)

    def heads(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Any,
        past_key_values: Any,
        cache_position: torch.Tensor | None,
        kwargs: dict[str, Any],
    ) -> Heads:
        shared = kwargs.pop("shared_heads")
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        # Rotated before they are transposed, as in transformers: gradients add up in that order.
        angles = tuple(each.transpose(1, 2) for each in position_embeddings)
        query = self.q_norm(self.query_linear(hidden_states).view(shape))
        query = self.rotate_heads(query, angles).transpose(1, 2)
        if self.k_norm is None:
            key, value = shared[self.kind]
            return query, key, value
        key = self.key_linear(hidden_states).view(shape)
        value = key if self.value_linear is None else self.value_linear(hidden_states).view(shape)
        key = self.rotate_heads(self.k_norm(key), angles).transpose(1, 2)
        value = normalized(value, self.config.rms_norm_eps).to(value.dtype).transpose(1, 2)
        key, value = self.update_cache(key, value, past_key_values, cache_position, kwargs)
        if self.mode == "store":
            shared[self.kind] = key, value
        return query, key, value
