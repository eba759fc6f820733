"""A layer of OPT."""

from typing import Any

import torch
from torch import nn

from .pre_norm_layer import PreNormLayer


class OPTLayer(PreNormLayer):
    """A layer with a norm before each of its two blocks, or after each sum."""

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, attention, feedforward, norm1, norm2)
        self.is_pre_norm = config.do_layer_norm_before

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if self.is_pre_norm:
            return super().forward(hidden_states, **kwargs)
        hidden_states = self.norm1(self.add(hidden_states, self.attention(hidden_states, **kwargs)))
        result: torch.Tensor = self.norm2(self.add(hidden_states, self.feedforward(hidden_states)))
        return result
