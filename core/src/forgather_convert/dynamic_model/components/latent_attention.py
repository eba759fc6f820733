"""Multi-head latent attention: keys and values are computed from one small vector per token."""

import math
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

from .causal_attention import CausalAttention, Heads
from .rms_norm import RMSNorm

#: Whether the installed transformers caches the small vectors instead of the heads.
CACHES_LATENTS = hasattr(DeepseekV3Attention, "expand_kv")
#: The epsilon of the norms in this module; the config's is for the others.
_EPS = 1e-6


def deinterleave_pairs(heads: torch.Tensor) -> torch.Tensor:
    """Turns ``(a, b, c, d...)`` into ``(a, c..., b, d...)``, in the last dimension."""
    pairs = heads.view(*heads.shape[:-1], -1, 2)
    return pairs.transpose(-1, -2).reshape(heads.shape)


class LatentAttention(CausalAttention):
    """Multi-head latent attention.

    The keys and values of all heads are computed from a vector of ``kv_lora_rank`` numbers, and
    the queries from one of ``q_lora_rank``, if the config has it. The last ``qk_rope_head_dim``
    dimensions of queries and keys have positions, which in the keys are the same for all heads.
    With ``rope_interleave``, their pairs are adjacent dimensions.

    DeepSeek-AI, "DeepSeek-V2", 2024, section 2.1.
    """

    # As in transformers: every device has all heads.
    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.scaling = sum(self.query_parts) ** -0.5
        rope = config.rope_parameters
        if rope["rope_type"] != "default" and rope.get("mscale_all_dim"):
            growth = 0.1 * rope["mscale_all_dim"] * math.log(max(rope["factor"], 1)) + 1.0
            self.scaling = self.scaling * growth * growth

    def value_dim(self, config: Any) -> int:
        return int(config.v_head_dim)

    def build_projections(self, config: Any, query_size: int, key_value_size: int) -> None:
        hidden, heads, bias = config.hidden_size, config.num_attention_heads, config.attention_bias
        self.latent_parts = [config.kv_lora_rank, config.qk_rope_head_dim]
        self.query_parts = [config.qk_nope_head_dim, config.qk_rope_head_dim]
        self.key_value_parts = [config.qk_nope_head_dim, config.v_head_dim]

        query_size = heads * sum(self.query_parts)
        self.has_query_latents = config.q_lora_rank is not None
        if self.has_query_latents:
            self.query_down_linear = nn.Linear(hidden, config.q_lora_rank, bias=bias)
            self.query_norm = RMSNorm(config.q_lora_rank, eps=_EPS)
            self.query_up_linear = nn.Linear(config.q_lora_rank, query_size, bias=False)
        else:
            self.query_linear = nn.Linear(hidden, query_size, bias=False)

        self.latent_linear = nn.Linear(hidden, sum(self.latent_parts), bias=bias)
        self.latent_norm = RMSNorm(config.kv_lora_rank, eps=_EPS)
        self.key_value_linear = nn.Linear(
            config.kv_lora_rank, heads * sum(self.key_value_parts), bias=False
        )

    def project(self, hidden_states: torch.Tensor) -> Heads:
        """Query heads, and the key's part with positions and the latents, each as one head."""
        if self.has_query_latents:
            query = self.query_up_linear(self.query_norm(self.query_down_linear(hidden_states)))
        else:
            query = self.query_linear(hidden_states)
        latents, key = torch.split(self.latent_linear(hidden_states), self.latent_parts, dim=-1)
        return (
            query.view(*hidden_states.shape[:-1], -1, sum(self.query_parts)),
            key.unsqueeze(-2),
            self.latent_norm(latents).unsqueeze(-2),
        )

    def rotate(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unrotated, query = torch.split(query, self.query_parts, dim=-1)
        if self.config.rope_interleave:
            query, key = deinterleave_pairs(query), deinterleave_pairs(key)
        query, key = super().rotate(query, key, position_embeddings)
        return torch.cat((unrotated, query), dim=-1), key

    @property
    def pads_values(self) -> bool:
        """Whether the attention function needs keys and values of the same size.

        Later versions of transformers pad the values themselves.
        """
        return not CACHES_LATENTS and bool(self.config._attn_implementation == "flash_attention_2")

    def update_cache(
        self, key: torch.Tensor, value: torch.Tensor, *cache: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if CACHES_LATENTS:
            # In the cache, the latents are the keys.
            latents, key = super().update_cache(value, key, *cache)
            return self.expand(key, latents)
        key, value = super().update_cache(*self.expand(key, value), *cache)
        if self.pads_values:
            value = functional.pad(value, (0, key.shape[-1] - value.shape[-1]))
        return key, value

    def merge_heads(
        self, output: torch.Tensor, shape: tuple[int, ...], *projected: torch.Tensor
    ) -> torch.Tensor:
        if self.pads_values:
            output = output[..., : self.key_value_parts[1]]
        return super().merge_heads(output, shape, *projected)

    def expand(self, key: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values of all heads, ``[batch, heads, sequence, size]``.

        Args:
            key: The part with positions, ``[batch, 1, sequence, qk_rope_head_dim]``.
            latents: ``[batch, 1, sequence, kv_lora_rank]``.
        """
        batch, _, length, _ = latents.shape
        # In transformers 4, the input of this product has no dimension for heads.
        heads = self.key_value_linear(latents if CACHES_LATENTS else latents.squeeze(1))
        heads = heads.view(batch, length, -1, sum(self.key_value_parts)).transpose(1, 2)
        unrotated, value = torch.split(heads, self.key_value_parts, dim=-1)
        key = torch.cat((unrotated, key.expand(-1, unrotated.shape[1], -1, -1)), dim=-1)
        return key, value
