"""A layer of OPT."""

from typing import Any

import torch

from .pre_norm_layer import PreNormLayer


class OPTLayer(PreNormLayer):
    """A layer with a norm before each of its two blocks, or after each sum."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if self.config.do_layer_norm_before:
            return super().forward(hidden_states, **kwargs)
        hidden_states = self.norm1(self.add(hidden_states, self.attention(hidden_states, **kwargs)))
        result: torch.Tensor = self.norm2(self.add(hidden_states, self.feedforward(hidden_states)))
        return result
