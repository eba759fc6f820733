"""The attention of StableLM."""

from typing import Any

import torch
from torch import nn

from .partly_rotated_attention import DividedPartlyRotatedAttention


class StableLmAttention(DividedPartlyRotatedAttention):
    """Causal attention with a layer norm for each query and key head, if ``qk_layernorm`` says so.

    Each head has a module of its own, since one product with all weights rounds differently.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.q_norms = self.k_norms = None
        if config.qk_layernorm:
            self.q_norms = self.build_norms(config, config.num_attention_heads)
            self.k_norms = self.build_norms(config, config.num_key_value_heads)

    def build_norms(self, config: Any, count: int) -> nn.ModuleList:
        """A norm without a bias for each head."""
        size, eps = self.head_dim, config.layer_norm_eps
        return nn.ModuleList(nn.LayerNorm(size, eps=eps, bias=False) for _ in range(count))

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = normalize(self.q_norms, query), normalize(self.k_norms, key)
        return super().rotate(query, key, position_embeddings)


def normalize(norms: nn.ModuleList | None, heads: torch.Tensor) -> torch.Tensor:
    """Applies to each head, ``[batch, heads, sequence, head_dim]``, its own norm."""
    if norms is None:
        return heads
    parts = heads.chunk(len(norms), dim=1)
    return torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], dim=1)
