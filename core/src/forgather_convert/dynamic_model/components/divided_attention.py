"""Attention that divides scores instead of multiplying them."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from .causal_attention import CausalAttention, eager_attention_forward
from .experts_implementation import HAS_STACKED_EXPERTS


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


class DividedAttention(CausalAttention):
    """Causal attention that divides scores by the square root of the size of a head.

    It does so in the implementation ``"eager"`` in transformers 4. transformers 5 multiplies.
    """

    eager: ClassVar[Callable[..., Any]] = staticmethod(divided_attention_forward)
