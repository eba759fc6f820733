"""A layer of BLOOM."""

from typing import Any

import torch

from .pre_norm_layer import PreNormLayer


class BloomLayer(PreNormLayer):
    """A layer with a norm before each block; the residual may be the norm's output."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        adds_to_normalized = self.config.apply_residual_connection_post_layernorm
        normalized = self.norm1(hidden_states)
        residual = normalized if adds_to_normalized else hidden_states
        hidden_states = self.add(residual, self.attention(normalized, **kwargs))
        normalized = self.norm2(hidden_states)
        residual = normalized if adds_to_normalized else hidden_states
        return self.add(residual, self.feedforward(normalized))
