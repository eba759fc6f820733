"""The layers of Falcon."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .parallel_layer import ParallelLayer
from .pre_norm_layer import PreNormLayer


class SequentialFalconLayer(PreNormLayer):
    """``x + attention(norm1(x))``, then ``x + feedforward(norm2(x))``, each with its own dropout.

    The attention's is ``attention_dropout``.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, attention, feedforward, norm1, norm2)
        self.attention_dropout = nn.Dropout(config.attention_dropout)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        assert self.attention is not None
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = hidden_states + self.attention_dropout(attended)
        return self.add(hidden_states, self.feedforward(self.norm2(hidden_states)))


class ParallelFalconLayer(ParallelLayer):
    """``x + (feedforward(norm1(x)) + attention(norm1(x)))``.

    The dropout ``layer_dropout`` applies to the sum of both. The order of sums determines the last
    bit.
    """

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        normalized = self.norm1(hidden_states)
        attended = self.attention(normalized, **kwargs)
        added: torch.Tensor = self.feedforward(normalized) + attended
        if self.dropout is not None:
            added = self.dropout(added)
        return hidden_states + added


class TwoNormFalconLayer(GradientCheckpointingLayer):
    """``x + (feedforward(feedforward_norm(x)) + attention(attention_norm(x)))``."""

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        attention_norm: nn.Module,
        feedforward_norm: nn.Module,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.attention_norm = attention_norm
        self.feedforward_norm = feedforward_norm
        self.dropout = nn.Dropout(config.layer_dropout)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        attention_input = self.attention_norm(hidden_states)
        feedforward_input = self.feedforward_norm(hidden_states)
        attended = self.attention(attention_input, **kwargs)
        added: torch.Tensor = self.dropout(self.feedforward(feedforward_input) + attended)
        return hidden_states + added
