"""A stack of layers that compute several streams of hidden states."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from .sharing_layer_stack import SharingLayerStack


def root_mean_square(hidden_states: torch.Tensor) -> torch.Tensor:
    """Of the last dimension, which is kept."""
    return (hidden_states**2).mean(dim=-1, keepdim=True) ** 0.5


def with_magnitude(hidden_states: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Scales the hidden states to a root mean square."""
    own = torch.sqrt((hidden_states**2).mean(dim=-1, keepdim=True).clamp(min=1e-5))
    return hidden_states * magnitude / own


class AltUpLayerStack(SharingLayerStack):
    """Makes streams of the first hidden states, runs the layers, and averages the streams.

    All streams but the first are projections with the magnitude of the first. Their number is the
    config's ``altup_num_inputs``.

    Baykal et al., "Alternating Updates for Efficient Transformers", 2023.
    """

    def __init__(self, config: Any, layers: Iterable[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__(config, layers, layer_norm)
        self.split_projections = self.projections()
        self.merge_projections = self.projections()

    def projections(self) -> nn.ModuleList:
        """A projection for each stream but the first."""
        size, count = self.config.hidden_size, self.config.altup_num_inputs - 1
        return nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(count))

    def split(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The streams, ``[streams, batch, sequence, hidden]``."""
        copies = [hidden_states] * len(self.split_projections)
        return self.stacked(hidden_states, copies, self.split_projections)

    def merge(self, streams: torch.Tensor) -> torch.Tensor:
        """The hidden states, ``[batch, sequence, hidden]``."""
        first, *others = streams
        return self.stacked(first, others, self.merge_projections).mean(dim=0)

    def stacked(
        self, first: torch.Tensor, others: Sequence[torch.Tensor], projections: nn.ModuleList
    ) -> torch.Tensor:
        """The first, and projections of the others with its magnitude, as one tensor."""
        # In the order of transformers, in which gradients add up.
        magnitude = root_mean_square(first)
        projected = (
            with_magnitude(projection(each), magnitude)
            for projection, each in zip(projections, others, strict=True)
        )
        return torch.stack([first, *projected])

    def forward(
        self, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        """As the superclass, but the last of all hidden states are the last layer's streams."""
        hidden_states, all_hidden_states, all_attentions = super().forward(*args, **kwargs)
        if all_hidden_states is not None:
            all_hidden_states = all_hidden_states[:-1]
        return hidden_states, all_hidden_states, all_attentions

    def run(
        self,
        hidden_states: torch.Tensor,
        *args: Any,
        all_hidden_states: list[Any] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        streams = super().run(
            self.split(hidden_states), *args, all_hidden_states=all_hidden_states, **kwargs
        )
        if all_hidden_states is not None:
            all_hidden_states.append(streams)
        return self.merge(streams)

    def can_leave_out(self, *args: Any, **kwargs: Any) -> bool:
        """No positions: transformers does not in models with streams."""
        return False
