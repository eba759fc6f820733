"""A transformer layer that normalizes before each of its two blocks."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class PreNormLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """``x + attention(norm1(x))``, then ``x + feedforward(norm2(x))``.

    A config may have a dropout probability for the outputs of the blocks, ``layer_dropout``,
    another one for the residual stream, ``residual_dropout``, and a factor for the outputs,
    ``residual_multiplier``.

    Hidden states are passed by position, as gradient checkpointing requires.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module | None,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        self.norm2 = norm2
        self.multiplier = getattr(config, "residual_multiplier", None)
        probability = getattr(config, "layer_dropout", 0.0)
        self.dropout = nn.Dropout(probability) if probability else None
        probability = getattr(config, "residual_dropout", 0.0)
        self.residual_dropout = nn.Dropout(probability) if probability else None

    def add(self, hidden_states: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        """Adds the output of a block to its input."""
        if self.residual_dropout is not None:
            hidden_states = self.residual_dropout(hidden_states)
        if self.dropout is not None:
            added = self.dropout(added)
        if self.multiplier is not None:
            added = added * self.multiplier
        return hidden_states + added

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        assert self.attention is not None
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = self.add(hidden_states, attended)
        return self.add(hidden_states, self.feedforward(self.norm2(hidden_states)))
