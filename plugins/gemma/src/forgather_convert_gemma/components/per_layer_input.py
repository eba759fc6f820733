"""What a layer makes of the input that it alone gets."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN


class PerLayerInput(nn.Module):
    """The layer's own input, through a gate that depends on the hidden states.

    Gemma Team, "Gemma 3n", 2025.
    """

    def __init__(self, config: Any, make_norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        hidden, size = config.hidden_size, config.hidden_size_per_layer_input
        self.gate = nn.Linear(hidden, size, bias=False)
        self.projection = nn.Linear(size, hidden, bias=False)
        self.norm = make_norm()
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Returns what is to be added to the hidden states."""
        gated = self.activation(self.gate(hidden_states)) * own
        added: torch.Tensor = self.norm(self.projection(gated))
        return added
