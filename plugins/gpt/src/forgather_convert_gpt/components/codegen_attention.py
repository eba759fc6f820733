"""The attention of CodeGen."""

from typing import Any, ClassVar

import torch
from torch import nn

from .causal_attention import Heads
from .experts_implementation import HAS_STACKED_EXPERTS
from .gptj_attention import GPTJAttention

#: The number of devices on which CodeGen was trained, which is how its one matrix is ordered.
NUM_PARTS = 4


class CodeGenAttention(GPTJAttention):
    """GPT-J's attention with one matrix: queries, values and keys of one quarter after the other.

    Positions are in float32. Nijkamp et al., "CodeGen", 2022.
    """

    # The parts of the one matrix cannot be divided evenly.
    tp_plan: ClassVar[dict[str, str]] = {}

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        self.qkv_linear = nn.Linear(config.hidden_size, 3 * query_size, bias=False)

    def project(self, hidden_states: torch.Tensor) -> Heads:
        shape = hidden_states.shape[:-1]
        parts = self.qkv_linear(hidden_states).view(*shape, NUM_PARTS, 3, -1)
        query, value, key = (each.reshape(*shape, -1, self.head_dim) for each in parts.unbind(-2))
        return query, key, value

    def scaled(self, scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Multiplies by the factor; transformers 4 divides, and the mask, too."""
        if HAS_STACKED_EXPERTS or mask is None:
            return super().scaled(scores, mask)
        return super().scaled(scores + mask[..., : scores.shape[-1]], None)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Rotates in float32. transformers 4 does not round the result, but keys in a cache."""
        rotated = super().rotate_heads(heads, position_embeddings)
        return rotated.to(heads.dtype) if HAS_STACKED_EXPERTS else rotated

    def update_cache(
        self, key: torch.Tensor, value: torch.Tensor, past_key_values: Any, *args: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # transformers also trains with a cache.
        if past_key_values is not None or (self.training and self.config.use_cache):
            key = key.to(value.dtype)
        return super().update_cache(key, value, past_key_values, *args)
