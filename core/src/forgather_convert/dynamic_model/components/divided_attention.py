"""Attention whose scores are divided where others multiply them."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from .causal_attention import CausalAttention, eager_attention_forward
from .experts_implementation import HAS_STACKED_EXPERTS


def divided_attention_forward(
    module: Any, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention spelt out, as transformers 4 has it in its older classes."""
    divisor = None if HAS_STACKED_EXPERTS else math.sqrt(module.head_dim)
    return eager_attention_forward(module, *args, divisor=divisor, **kwargs)


class DividedAttention(CausalAttention):
    """Causal attention that divides scores by the square root of the size of a head.

    It does so where transformers 4 spells attention out. transformers 5 multiplies everywhere.
    """

    eager: ClassVar[Callable[..., Any]] = staticmethod(divided_attention_forward)
