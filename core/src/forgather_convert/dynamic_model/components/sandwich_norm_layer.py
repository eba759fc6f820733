"""A transformer layer that normalizes before and after each of its two blocks."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class SandwichNormLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """``x + norm2(attention(norm1(x)))``, then ``x + norm4(feedforward(norm3(x)))``.

    Ding et al., "CogView", 2021.
    """

    def __init__(
        self,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        norm3: nn.Module,
        norm4: nn.Module,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        self.norm2 = norm2
        self.norm3 = norm3
        self.norm4 = norm4

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = hidden_states + self.norm2(attended)
        transformed = self.feedforward(self.norm3(hidden_states))
        added: torch.Tensor = self.norm4(transformed)
        return hidden_states + added
