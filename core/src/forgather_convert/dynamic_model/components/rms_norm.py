"""Root mean square normalization."""

import torch
from torch import nn


class RMSNorm(nn.LayerNorm):
    """Scales the last dimension to unit root mean square, then by a weight.

    The statistics are computed in float32, and the result is rounded to the input's
    dtype *before* it is multiplied: the order determines the last bit.
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    It is a subclass of ``LayerNorm`` because trainers exempt that from weight decay. Servers build
    one from its size alone to see its initial weights.
    """

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__(size, eps=eps, bias=False)

    def normalize(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Scales to unit root mean square, in float32."""
        wide = hidden_states.to(torch.float32)
        mean_square = wide.pow(2).mean(-1, keepdim=True)
        return wide * torch.rsqrt(mean_square + self.eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        normalized = self.normalize(hidden_states)
        return self.weight * normalized.to(hidden_states.dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, eps={self.eps}"


class WideRMSNorm(RMSNorm):
    """An RMS norm whose result is rounded to the input's dtype *after* it is multiplied."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return (self.weight * self.normalize(hidden_states)).to(hidden_states.dtype)


class ZeroCenteredRMSNorm(RMSNorm):
    """An RMS norm that multiplies by one plus the weight, and rounds the result last."""

    def reset_parameters(self) -> None:
        """Sets the weights to zero, so that a new norm multiplies by one."""
        nn.init.zeros_(self.weight)

    def initialize(self) -> None:
        """Does the same in transformers, which would set the weights of any norm to one."""
        self.reset_parameters()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        factor = 1.0 + self.weight.to(torch.float32)
        return (self.normalize(hidden_states) * factor).to(hidden_states.dtype)
