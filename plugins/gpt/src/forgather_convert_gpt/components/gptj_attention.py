"""The attention of GPT-J."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import CausalAttention
from .experts_implementation import HAS_STACKED_EXPERTS
from .rotary_embedding import apply_partial_rotary, rotate_pairs


def float_attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, with scores in float32."""
    scores = torch.matmul(query.float(), key.float().transpose(-1, -2))
    weights = nn.functional.softmax(module.scaled(scores, attention_mask), dim=-1).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class GPTJAttention(CausalAttention):
    """Causal attention that rotates pairs of adjacent dimensions, with scores in float32."""

    eager: ClassVar[Callable[..., Any]] = staticmethod(float_attention_forward)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        # transformers 4 rounds it to the dtype in which the model is loaded. Models are built on
        # the meta device.
        with torch.device("cpu"):
            root = torch.tensor(math.sqrt(self.head_dim), dtype=torch.get_default_dtype())
        self.divisor = root.item()

    def scaled(self, scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The scaled scores, plus a mask. transformers 4 divides."""
        scores = scores * self.scaling if HAS_STACKED_EXPERTS else scores / self.divisor
        return scores if mask is None else scores + mask[..., : scores.shape[-1]]

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Rotates when heads are still behind the sequence, which gives that memory layout."""
        heads = heads.transpose(1, 2)
        return apply_partial_rotary(heads, position_embeddings, rotate_pairs).transpose(1, 2)
