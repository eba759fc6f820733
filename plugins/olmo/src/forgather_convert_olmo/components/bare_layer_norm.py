"""Layer normalization without weights."""

import torch
from torch import nn


class BareLayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1 over the last dimension, in float32.

    Groeneveld et al., "OLMo: Accelerating the Science of Language Models", 2024.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, eps=1e-5, elementwise_affine=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states.to(torch.float32)).to(hidden_states.dtype)
