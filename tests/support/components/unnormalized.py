"""Attention without the norms that it has."""

import torch

from .causal_attention import CausalAttention, Heads
from .qk_norm_attention import QKNormAttention


class Unnormalized(QKNormAttention):
    """Has the norms, and does not apply them."""

    def project(self, hidden_states: torch.Tensor) -> Heads:
        return CausalAttention.project(self, hidden_states)
