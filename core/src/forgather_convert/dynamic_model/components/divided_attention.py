"""Attention as in the older classes of transformers 4, which divide scores and repeat heads."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .causal_attention import CausalAttention, eager_attention_forward, repeat_kv
from .experts_implementation import HAS_STACKED_EXPERTS

# Heads that are repeated are in no groups.
_WITHOUT_GROUPS = nn.Module()


def divided_attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, as in the older classes of transformers 4."""
    divisor = None if HAS_STACKED_EXPERTS else math.sqrt(module.head_dim)
    return eager_attention_forward(
        module, query, key, value, attention_mask, scaling, divisor=divisor, **kwargs
    )


def repeated_attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """PyTorch's attention, which gets key and value heads once for each of their query heads.

    It rounds the score of a single query in ways that depend on where the keys lie in memory.
    """
    groups = module.num_key_value_groups
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    result: tuple[torch.Tensor, torch.Tensor | None] = ALL_ATTENTION_FUNCTIONS["sdpa"](
        _WITHOUT_GROUPS, query, key, value, attention_mask, **kwargs
    )
    return result


class DividedAttention(CausalAttention):
    """Causal attention that divides scores by the square root of the size of a head.

    It does so in the implementation ``"eager"`` in transformers 4, and repeats heads in ``"sdpa"``.
    transformers 5 multiplies, and lets PyTorch know which heads are shared.
    """

    eager: ClassVar[Callable[..., Any]] = staticmethod(divided_attention_forward)
    sdpa: ClassVar[Callable[..., Any] | None] = (
        None if HAS_STACKED_EXPERTS else staticmethod(repeated_attention_forward)
    )
