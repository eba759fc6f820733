"""Attention whose query and key heads are normalised before they are rotated."""

from typing import Any

import torch

from .causal_attention import CausalAttention
from .rms_norm import RMSNorm


class QKNormAttention(CausalAttention):
    """Causal attention with an RMS norm over each query and key head.

    Henry et al., "Query-Key Normalization for Transformers", 2020.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)

    def project(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        query, key, value = super().project(hidden_states)
        return self.q_norm(query), self.k_norm(key), value
