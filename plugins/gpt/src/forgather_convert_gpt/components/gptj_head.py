"""The head of GPT-J."""

import torch
from torch import nn

from .experts_implementation import HAS_STACKED_EXPERTS
from .linear_head import LinearHead


class GPTJHead(LinearHead):
    """Multiplies by the head's matrix; in transformers 4, the logits are float32."""

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        logits = super().forward(hidden_states, lm_head)
        return logits if HAS_STACKED_EXPERTS else logits.float()
