"""A head that scales the logits."""

from typing import Any

import torch
from torch import nn

from .linear_head import LinearHead


class ScaledHead(LinearHead):
    """Logits multiplied by the config's ``logit_scale``, or divided by its ``logits_scaling``."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.factor = getattr(config, "logit_scale", None)
        self.divisor = getattr(config, "logits_scaling", None)

    def forward(self, hidden_states: torch.Tensor, lm_head: nn.Module) -> torch.Tensor:
        logits = super().forward(hidden_states, lm_head)
        if self.factor is not None:
            logits = logits * self.factor
        if self.divisor is not None:
            logits = logits / self.divisor
        return logits
