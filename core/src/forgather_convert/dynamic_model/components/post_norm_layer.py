"""A transformer layer that normalizes the output of each of its two blocks."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class PostNormLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """``x + norm1(attention(x))``, then ``x + norm2(feedforward(x))``.

    Liu et al., "Swin Transformer V2", 2022; OLMo Team, "2 OLMo 2 Furious", 2024.
    """

    def __init__(
        self, attention: nn.Module, feedforward: nn.Module, norm1: nn.Module, norm2: nn.Module
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        self.norm2 = norm2

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        hidden_states = hidden_states + self.norm1(self.attention(hidden_states, **kwargs))
        added: torch.Tensor = self.norm2(self.feedforward(hidden_states))
        return hidden_states + added
