"""Attention with normalised queries and keys and a scale of its own."""

from collections.abc import Callable
from typing import Any

from torch import nn

from .qk_norm_attention import QKNormAttention


class Gemma3Attention(QKNormAttention):
    """Causal attention, scaled by ``query_pre_attn_scalar``."""

    def __init__(self, config: Any, layer_idx: int, make_norm: Callable[[int], nn.Module]) -> None:
        super().__init__(config, layer_idx, make_norm)
        self.scaling = config.query_pre_attn_scalar**-0.5
