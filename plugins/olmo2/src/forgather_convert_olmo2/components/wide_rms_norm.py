"""Root mean square normalisation, rounded last."""

import torch

from .rms_norm import RMSNorm


class WideRMSNorm(RMSNorm):
    """Where the result is rounded to the input's dtype *after* it is multiplied."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return (self.weight * self.normalize(hidden_states)).to(hidden_states.dtype)
