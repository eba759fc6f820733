"""The positional encoding of models without positions in their layers."""

from typing import Any

import torch
from torch import nn

from .context import Context


class NoPositionalEncoding(nn.Module):
    """Gives the layers no positions; if there are any, they are in the first hidden states."""

    def forward(self, hidden_states: torch.Tensor, context: Context) -> dict[str, Any]:
        return {}
