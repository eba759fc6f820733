"""A transformer layer whose two blocks have the same input."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class ParallelLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """``x + attention(norm1(x)) + feedforward(norm1(x))``.

    Wang and Komatsuzaki, "GPT-J-6B", 2021. A config may have a dropout probability for the outputs
    of the blocks, ``layer_dropout``.
    """

    def __init__(
        self, config: Any, attention: nn.Module, feedforward: nn.Module, norm1: nn.Module
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.norm1 = norm1
        probability = getattr(config, "layer_dropout", 0.0)
        self.dropout = nn.Dropout(probability) if probability else None

    def add(
        self, hidden_states: torch.Tensor, attended: torch.Tensor, transformed: torch.Tensor
    ) -> torch.Tensor:
        """Adds the outputs of both blocks. The order of the sum determines the last bit."""
        return hidden_states + attended + transformed

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        normalized = self.norm1(hidden_states)
        attended = self.attention(normalized, **kwargs)
        if self.dropout is not None:
            attended = self.dropout(attended)
        transformed = self.feedforward(normalized)
        if self.dropout is not None:
            transformed = self.dropout(transformed)
        return self.add(hidden_states, attended, transformed)


class BlocksFirstParallelLayer(ParallelLayer):
    """A parallel layer that adds the outputs of the two blocks to each other first."""

    def add(
        self, hidden_states: torch.Tensor, attended: torch.Tensor, transformed: torch.Tensor
    ) -> torch.Tensor:
        return attended + transformed + hidden_states
