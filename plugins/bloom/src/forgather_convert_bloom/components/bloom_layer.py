"""A layer of BLOOM."""

from typing import Any

import torch
from torch import nn

from .pre_norm_layer import PreNormLayer


class BloomLayer(PreNormLayer):
    """A layer with a norm before each block; the residual may be the norm's output."""

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, attention, feedforward, norm1, norm2)
        self.adds_to_normalized = config.apply_residual_connection_post_layernorm

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        normalized = self.norm1(hidden_states)
        residual = normalized if self.adds_to_normalized else hidden_states
        hidden_states = self.add(residual, self.attention(normalized, **kwargs))
        normalized = self.norm2(hidden_states)
        residual = normalized if self.adds_to_normalized else hidden_states
        return self.add(residual, self.feedforward(normalized))
