"""A transformer layer that normalises before each of its two blocks."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class PreNormLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """``x + attention(norm1(x))``, then ``x + feedforward(norm2(x))``.

    Hidden states are passed by position: gradient checkpointing needs it.
    """

    def __init__(
        self,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        self.norm2 = norm2

    def forward(
        self, hidden_states: torch.Tensor, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Gives the new hidden states, and the attention weights if there are any."""
        attended, weights = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        hidden_states = hidden_states + self.feedforward(self.norm2(hidden_states))
        return hidden_states, weights
