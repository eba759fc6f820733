"""Computes logits from hidden states."""

from typing import Any

import torch
from torch import nn


class LinearHead(nn.Module):
    """Multiplies by the head's matrix, which is a parameter of the model itself."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        logits: torch.Tensor = lm_head(hidden_states)
        return logits
