"""Rotary positions as complex numbers."""

from typing import Any

import torch

from .context import Context
from .experts_implementation import HAS_STACKED_EXPERTS
from .rotary_embedding import RotaryEmbedding


class ComplexRotaryEmbedding(RotaryEmbedding):
    """Rotates pairs of adjacent dimensions, each of them one complex number."""

    def forward(self, hidden_states: torch.Tensor, context: Context) -> dict[str, Any]:
        """Returns complex numbers of float32, ``[batch, 1, sequence, rotary_dim / 2]``."""
        positions = context.position_ids[:, None, :].float()
        tables = []
        for embedding in self.embeddings:
            inv_freq, scale = embedding.select(context.position_ids, hidden_states.device)
            if HAS_STACKED_EXPERTS:
                angles = positions.unsqueeze(-1) * inv_freq
            else:
                # Laid out as in transformers 4: the last bits of gradients depend on it.
                angles = (positions.unsqueeze(-2) * inv_freq.unsqueeze(-1)).transpose(-1, -2)
            tables.append(torch.polar(torch.ones_like(angles), angles) * scale)
        return {kind: tables[index] for kind, index in self.kinds.items()}


def apply_complex_rotary(heads: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Multiplies ``[batch, heads, sequence, size]`` by complex numbers, in float32."""
    pairs = torch.view_as_complex(heads.float().reshape(*heads.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(3).type_as(heads)
