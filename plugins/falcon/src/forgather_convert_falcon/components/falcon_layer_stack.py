"""The stack of layers of Falcon, whose masks contain the biases of keys."""

import math
from typing import Any

import torch

from .additive_mask_layer_stack import AdditiveMaskLayerStack, as_additive
from .attention_masks import attention_types
from .experts_implementation import HAS_STACKED_EXPERTS


class FalconLayerStack(AdditiveMaskLayerStack):
    """A layer stack that makes masks where other classes leave them to the attention function."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        position_embeddings: dict[str, Any],
        *args: Any,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        (kind,) = set(attention_types(self.config))
        mask = attention_masks[kind]
        # transformers 4 only does so for biases.
        if mask is None and (self.config.alibi or HAS_STACKED_EXPERTS) and self.uses_masks:
            length = hidden_states.shape[1]
            seen = 0 if past_key_values is None else past_key_values.get_seq_length()
            mask = hidden_states.new_ones(1, 1, length, seen + length, dtype=torch.bool).tril(seen)
        if self.config.alibi and mask is not None:
            mask = with_biases(mask, position_embeddings[kind], hidden_states, self.config.head_dim)
        return super().forward(
            hidden_states,
            {kind: mask},
            position_embeddings,
            *args,
            past_key_values=past_key_values,
            **kwargs,
        )

    @property
    def uses_masks(self) -> bool:
        """Whether the attention function is one that adds a mask to the scores."""
        return self.config._attn_implementation in ("eager", "sdpa")


def with_biases(
    mask: torch.Tensor, biases: torch.Tensor, hidden_states: torch.Tensor, head_dim: int
) -> torch.Tensor:
    """A mask that adds the biases, ``[batch * heads, 1, keys]``, to scaled scores."""
    dtype = hidden_states.dtype
    biases = biases.reshape(hidden_states.shape[0], -1, *biases.shape[1:]) / math.sqrt(head_dim)
    return torch.masked_fill(biases, as_additive(mask, dtype) < -1, torch.finfo(dtype).min)
