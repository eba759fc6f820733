"""Layers with one block each."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class SingleBlock(GradientCheckpointingLayer):
    """``x + block(norm(x))``.

    NVIDIA, "Nemotron-H: A Family of Accurate and Efficient Hybrid Mamba-Transformer Models", 2025.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def compute(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """The block."""
        raise NotImplementedError

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        weight: Any = self.norm.weight
        normalized = self.norm(hidden_states.to(weight.dtype))
        return hidden_states + self.compute(normalized, **kwargs)


class MixerBlock(SingleBlock):
    """A layer with a mixer."""

    def __init__(self, norm: nn.Module, mixer: nn.Module) -> None:
        super().__init__(norm)
        self.mixer = mixer

    def compute(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        mixed: torch.Tensor = self.mixer(hidden_states, **kwargs)
        return mixed


class AttentionBlock(SingleBlock):
    """A layer with attention."""

    def __init__(self, norm: nn.Module, attention: nn.Module) -> None:
        super().__init__(norm)
        self.attention = attention

    def compute(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        attended: torch.Tensor = self.attention(hidden_states, **kwargs)
        return attended


class FeedforwardBlock(SingleBlock):
    """A layer with a feed-forward."""

    def __init__(self, norm: nn.Module, feedforward: nn.Module) -> None:
        super().__init__(norm)
        self.feedforward = feedforward

    def compute(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        transformed: torch.Tensor = self.feedforward(hidden_states)
        return transformed
