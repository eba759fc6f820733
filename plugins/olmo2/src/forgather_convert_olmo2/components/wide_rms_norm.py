"""Root mean square normalisation, rounded last."""

import torch
from torch import nn


class WideRMSNorm(nn.LayerNorm):
    """Scales the last dimension to unit root mean square, then by a weight, all in float32.

    The result is rounded to the input's dtype *after* it is multiplied: the order decides the
    last bit. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    It is a ``LayerNorm`` to trainers, which spare those from weight decay.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__(size, eps=eps, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        wide = hidden_states.to(torch.float32)
        mean_square = wide.pow(2).mean(-1, keepdim=True)
        normalized = wide * torch.rsqrt(mean_square + self.eps)
        return (self.weight * normalized).to(hidden_states.dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, eps={self.eps}"
