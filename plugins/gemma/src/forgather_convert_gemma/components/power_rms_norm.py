"""Root mean square normalisation by a power, as in Gemma 3n and Gemma 4."""

import torch

from .rms_norm import WideRMSNorm


def normalized(hidden_states: torch.Tensor, eps: float) -> torch.Tensor:
    """Scales to unit root mean square, in float32.

    The power and the reciprocal square root differ in their last bits.
    """
    wide = hidden_states.float()
    return wide * torch.pow(wide.pow(2).mean(-1, keepdim=True) + eps, -0.5)


class PowerRMSNorm(WideRMSNorm):
    """An RMS norm that computes the root as a power."""

    def normalize(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return normalized(hidden_states, self.eps)
