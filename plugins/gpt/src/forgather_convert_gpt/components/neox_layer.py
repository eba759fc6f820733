"""The layer of GPT-NeoX."""

from typing import Any

import torch
from torch import nn

from .pre_norm_layer import PreNormLayer


class NeoXLayer(PreNormLayer):
    """``x + attention(norm1(x)) + feedforward(norm2(x))``, if ``use_parallel_residual`` says so.

    Black et al., "GPT-NeoX-20B", 2022. The order of the sum decides the last bit.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, attention, feedforward, norm1, norm2)
        self.is_parallel = config.use_parallel_residual

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if not self.is_parallel:
            return super().forward(hidden_states, **kwargs)
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        if self.dropout is not None:
            attended = self.dropout(attended)
        transformed: torch.Tensor = self.feedforward(self.norm2(hidden_states))
        if self.dropout is not None:
            transformed = self.dropout(transformed)
        return transformed + attended + hidden_states
