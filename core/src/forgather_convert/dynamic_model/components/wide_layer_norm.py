"""Layer normalization without a bias, in float32."""

import torch
from torch import nn


class WideLayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1 over the last dimension, then a weight, rounded at the end.

    The weight may be for more dimensions: ``size`` is its shape then.

    Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(self, size: int | tuple[int, ...], eps: float = 1e-5) -> None:
        super().__init__(size, eps=eps, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        wide = hidden_states.to(torch.float32)
        mean = wide.mean(-1, keepdim=True)
        variance = (wide - mean).pow(2).mean(-1, keepdim=True)
        normalized = (wide - mean) * torch.rsqrt(variance + self.eps)
        return (self.weight.to(torch.float32) * normalized).to(hidden_states.dtype)
