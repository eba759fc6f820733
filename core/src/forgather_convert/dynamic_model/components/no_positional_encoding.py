"""The positional encoding of models that have none in their layers."""

from typing import Any

import torch
from torch import nn


class NoPositionalEncoding(nn.Module):
    """Gives the layers no positions: they are in the first hidden states, or nowhere."""

    def forward(self, hidden_states: torch.Tensor, position_ids: torch.Tensor) -> dict[str, Any]:
        return {}
