"""The attention of Phi."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .causal_attention import CausalAttention
from .rotary_embedding import apply_partial_rotary


class PhiAttention(CausalAttention):
    """Causal attention with a norm over each query and key head, if ``qk_layernorm`` says so.

    The heads are in front of the sequence when they are normalised: gradients add up in that
    order.
    """

    def __init__(self, config: Any, layer_idx: int, make_norm: Callable[[int], nn.Module]) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = make_norm(self.head_dim) if config.qk_layernorm else nn.Identity()
        self.k_norm = make_norm(self.head_dim) if config.qk_layernorm else nn.Identity()

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            apply_partial_rotary(self.q_norm(query), position_embeddings),
            apply_partial_rotary(self.k_norm(key), position_embeddings),
        )
