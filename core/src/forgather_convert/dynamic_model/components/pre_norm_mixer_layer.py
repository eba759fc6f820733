"""A layer with a mixer other than attention."""

from typing import Any

import torch
from torch import nn

from .pre_norm_layer import PreNormLayer


class PreNormMixerLayer(PreNormLayer):
    """``x + mixer(norm1(x))``, then ``x + feedforward(norm2(x))``."""

    def __init__(
        self,
        config: Any,
        mixer: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, None, feedforward, norm1, norm2)
        self.mixer = mixer

    def mix(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """The block that lets positions see each other."""
        mixed: torch.Tensor = self.mixer(hidden_states, **kwargs)
        return mixed

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        hidden_states = self.add(hidden_states, self.mix(self.norm1(hidden_states), **kwargs))
        return self.add(hidden_states, self.feedforward(self.norm2(hidden_states)))
