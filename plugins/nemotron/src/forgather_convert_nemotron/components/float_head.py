"""A head whose logits are float32."""

import torch
from torch import nn

from .linear_head import LinearHead


class FloatHead(LinearHead):
    """Multiplies in the dtype of the head's matrix, and returns float32."""

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        return super().forward(hidden_states, lm_head).float()
