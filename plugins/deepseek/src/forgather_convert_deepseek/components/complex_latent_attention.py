"""The latent attention of DeepSeek-V2."""

from typing import Any

import torch
from transformers.models.deepseek_v2 import modeling_deepseek_v2

from .complex_rotary_embedding import apply_complex_rotary
from .latent_attention import LatentAttention

#: Whether the installed transformers scales the scores of YaRN models, as DeepSeek does.
HAS_YARN_SCALING = hasattr(modeling_deepseek_v2, "yarn_apply_mscale")


class ComplexLatentAttention(LatentAttention):
    """Multi-head latent attention with the positions of ``ComplexRotaryEmbedding``."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        if not HAS_YARN_SCALING:
            self.scaling = sum(self.query_parts) ** -0.5

    def rotate(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unrotated, query = torch.split(query, self.query_parts, dim=-1)
        query = apply_complex_rotary(query, position_embeddings)
        key = apply_complex_rotary(key, position_embeddings)
        return torch.cat((unrotated, query), dim=-1), key
