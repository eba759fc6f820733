"""A linear layer in two operations."""

import torch
from torch import nn


class UnfusedLinear(nn.Linear):
    """Adds the bias to the rounded product: Falcon was trained that way."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        product = hidden_states @ self.weight.T
        return product if self.bias is None else product + self.bias
