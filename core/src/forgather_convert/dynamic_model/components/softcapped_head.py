"""A head with soft-capped logits."""

from typing import Any

import torch
from torch import nn

from .linear_head import LinearHead


class SoftcappedHead(LinearHead):
    """``cap * tanh(logits / cap)``, where ``cap`` is the config's ``final_logit_softcapping``."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.cap = config.final_logit_softcapping

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        logits = super().forward(hidden_states, lm_head)
        if self.cap is None:
            return logits
        capped: torch.Tensor = torch.tanh(logits / self.cap) * self.cap
        return capped
