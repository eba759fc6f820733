"""The attention of Phi."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .causal_attention import CausalAttention
from .rotary_embedding import rotate_half


class PhiAttention(CausalAttention):
    """Causal attention with a norm over each query and key head, if ``qk_layernorm`` says so.

    The heads are in front of the sequence when they are normalized: gradients add up in that
    order.
    """

    def __init__(self, config: Any, layer_idx: int, make_norm: Callable[[int], nn.Module]) -> None:
        super().__init__(config, layer_idx)
        self.rotary_dim = int(
            self.head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0)
        )
        self.q_norm = make_norm(self.head_dim) if config.qk_layernorm else nn.Identity()
        self.k_norm = make_norm(self.head_dim) if config.qk_layernorm else nn.Identity()

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return super().rotate(self.q_norm(query), self.k_norm(key), position_embeddings)

    def rotate_heads(self, heads: torch.Tensor, position_embeddings: Any) -> torch.Tensor:
        """Rotates the number of dimensions in the config, which may be odd.

        The number of angles is even. If the config has one dimension, there are two, and the heads
        become larger by one dimension, as in the original.
        """
        cos, sin = position_embeddings
        part, rest = heads[..., : self.rotary_dim], heads[..., self.rotary_dim :]
        return torch.cat(((part * cos) + (rotate_half(part) * sin), rest), dim=-1)
