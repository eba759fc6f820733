"""Root mean square normalisation."""

import torch
from torch import nn


class RMSNorm(nn.LayerNorm):
    """Scales the last dimension to unit root mean square, then by a weight.

    The statistics are taken in float32 and the result is rounded to the input's
    dtype *before* it is multiplied: the order decides the last bit.
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    It is a ``LayerNorm`` to trainers, which exempt those from weight decay. Servers build one
    from its size alone to see how new weights begin.
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
    """Where the result is rounded to the input's dtype *after* it is multiplied."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return (self.weight * self.normalize(hidden_states)).to(hidden_states.dtype)


class ZeroCenteredRMSNorm(RMSNorm):
    """Where the factor is one more than the weight, and the result is rounded last."""

    def reset_parameters(self) -> None:
        """A new norm multiplies by one."""
        nn.init.zeros_(self.weight)

    def initialize(self) -> None:
        """The same for transformers, which sets the weights of every norm to one."""
        self.reset_parameters()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        factor = 1.0 + self.weight.to(torch.float32)
        return (self.normalize(hidden_states) * factor).to(hidden_states.dtype)
