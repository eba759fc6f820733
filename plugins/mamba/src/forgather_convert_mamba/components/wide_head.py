"""A head for hidden states of another dtype."""

from typing import Any

import torch
from torch import nn

from .linear_head import LinearHead


class WideHead(LinearHead):
    """Multiplies in the dtype of the head's matrix, and returns float32."""

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        weight: Any = lm_head.weight
        return super().forward(hidden_states.to(weight.dtype), lm_head).float()
