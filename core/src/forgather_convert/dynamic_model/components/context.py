"""What a model is run on, for the components that depend on more than hidden states."""

from dataclasses import dataclass
from typing import Any

import torch


# Not frozen: creating a frozen one takes a call for each attribute.
@dataclass
class Context:
    """The input of a model in one run.

    Attributes:
        input_ids: The tokens, ``[batch, sequence]``, or ``None`` if vectors are given instead.
        inputs_embeds: The vectors, ``[batch, sequence, hidden]``, or ``None``.
        position_ids: The positions, ``[batch or 1, sequence]``.
        has_given_positions: Whether the caller gave the positions. Otherwise they are counted from
            the beginning of the rows, padding included.
        attention_mask: What the caller gave: ``[batch, seen + sequence]`` with 0 at padding,
            complete masks, or ``None``.
        past_key_values: The cache, or ``None``.
        per_layer_inputs: What each layer gets besides the hidden states, ``[batch, sequence,
            layers, size]``: as given by the caller, or what the input encoder makes of it.
    """

    input_ids: torch.Tensor | None
    inputs_embeds: torch.Tensor | None
    position_ids: torch.Tensor
    has_given_positions: bool
    attention_mask: Any
    past_key_values: Any
    per_layer_inputs: torch.Tensor | None = None

    @property
    def padding_mask(self) -> torch.Tensor | None:
        """The mask ``[batch, seen + sequence]`` with 0 at padding, if that is what was given."""
        mask = self.attention_mask
        return mask if isinstance(mask, torch.Tensor) and mask.dim() == 2 else None

    @property
    def num_seen(self) -> int:
        """The number of positions in the cache."""
        cache = self.past_key_values
        return 0 if cache is None else int(cache.get_seq_length())
