"""The attention of OLMoE."""

import torch

from .causal_attention import Heads
from .divided_attention import DividedAttention
from .projection_norm_attention import ProjectionNormAttention


class OlmoeAttention(ProjectionNormAttention, DividedAttention):
    """Norms over whole projections; queries, keys and values within the config's ``clip_qkv``."""

    def project(self, hidden_states: torch.Tensor) -> Heads:
        query, key, value = super().project(hidden_states)
        limit = self.config.clip_qkv
        if limit is not None:
            query, key, value = (each.clamp(-limit, limit) for each in (query, key, value))
        return query, key, value
