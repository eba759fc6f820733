"""The attention of Llama 4."""

from typing import Any

import torch
from torch import nn

from .causal_attention import CausalAttention, repeat_kv
from .complex_rotary_embedding import apply_complex_rotary


def narrow_attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in elementary operations, with a softmax in the dtype of the scores."""
    groups: int = module.num_key_value_groups
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(scores, dim=-1)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class TemperedAttention(CausalAttention):
    """Causal attention, with the positions of ``TemperedRotaryEmbedding``.

    Layers with rotary positions normalize queries and keys after the rotation, without a weight;
    the others multiply queries by the factors of their positions.
    """

    eager = staticmethod(narrow_attention_forward)
    has_rope: bool

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.is_rotated = self.has_rope
        self.is_normalized = config.use_qk_norm and self.is_rotated
        self.is_tempered = config.attn_temperature_tuning and not self.is_rotated
        self.eps = config.rms_norm_eps
        # The others get the factors.
        self.has_rope = True

    def normalize(self, heads: torch.Tensor) -> torch.Tensor:
        """Scales each head to unit root mean square, in float32."""
        wide = heads.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return wide.type_as(heads)

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        turns, factors = position_embeddings
        # With the heads behind the sequence, as in transformers.
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        if self.is_rotated:
            turns = turns.transpose(1, 2)
            query, key = apply_complex_rotary(query, turns), apply_complex_rotary(key, turns)
        if self.is_normalized:
            query, key = self.normalize(query), self.normalize(key)
        if self.is_tempered:
            query = (query * factors).to(query.dtype)
        return query.transpose(1, 2), key.transpose(1, 2)
