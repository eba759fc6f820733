"""The layer of GPT-NeoX."""

from typing import Any

import torch

from .pre_norm_layer import PreNormLayer


class NeoXLayer(PreNormLayer):
    """``x + attention(norm1(x)) + feedforward(norm2(x))``, if ``use_parallel_residual`` says so.

    Black et al., "GPT-NeoX-20B", 2022. The order of the sum decides the last bit.
    """

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if not self.config.use_parallel_residual:
            return super().forward(hidden_states, **kwargs)
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        if self.dropout is not None:
            attended = self.dropout(attended)
        transformed: torch.Tensor = self.feedforward(self.norm2(hidden_states))
        if self.dropout is not None:
            transformed = self.dropout(transformed)
        return transformed + attended + hidden_states
