"""The layer of StableLM."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class StableLmLayer(GradientCheckpointingLayer):
    """``x + attention(norm1(x))``, then ``x + feedforward(norm2(x))``.

    With ``use_parallel_residual``, it is ``x + attention(norm1(x)) + feedforward(norm1(x))``. Only
    the output of the feed-forward has a dropout, ``hidden_dropout``.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        self.norm2 = None if config.use_parallel_residual else norm2
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        normalized = self.norm1(hidden_states)
        hidden_states = hidden_states + self.attention(normalized, **kwargs)
        if self.norm2 is not None:
            normalized = self.norm2(hidden_states)
        return hidden_states + self.dropout(self.feedforward(normalized))
