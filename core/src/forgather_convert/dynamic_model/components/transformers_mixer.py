"""Mixers that transformers computes: its own modules as components."""

import inspect
from typing import Any, ClassVar

import torch
from torch import nn


def set_new(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Sets a parameter or buffer to its initial value, unless it has been loaded."""
    if not getattr(tensor, "_is_hf_initialized", False):
        with torch.no_grad():
            tensor.copy_(value)


class TransformersMixer(nn.Module):
    """A base class for mixers that are transformers' own modules.

    Subclasses have it as their first base class, and the class in transformers as their second
    one, whose ``forward`` has other arguments in other versions. The mixer's parameters, its
    kernels and the order of its operations are those of the installed transformers.

    Attributes:
        cache_class: The class of caches for such mixers in versions of transformers whose ordinary
            cache has no states; otherwise ``None``.
    """

    cache_class: ClassVar[Any] = None

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self._names = frozenset(inspect.signature(super().forward).parameters)

    def forward(
        self,
        hidden_states: torch.Tensor,
        recurrent_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        cache_position: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Returns ``[batch, sequence, hidden]``."""
        values = {
            "attention_mask": recurrent_mask,
            "cache": past_key_values,
            "cache_params": past_key_values,
            "past_key_values": past_key_values,
            "cache_position": cache_position,
        }
        output: torch.Tensor = super().forward(
            hidden_states, **{name: values[name] for name in values if name in self._names}
        )
        return output
