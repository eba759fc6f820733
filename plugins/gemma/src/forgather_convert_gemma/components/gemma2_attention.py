"""Attention with a scale of its own and bounded scores."""

from typing import Any

from .causal_attention import CausalAttention


class Gemma2Attention(CausalAttention):
    """Causal attention, scaled by ``query_pre_attn_scalar``, within ``attn_logit_softcapping``."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.scaling = config.query_pre_attn_scalar**-0.5

    def attention_options(self) -> dict[str, Any]:
        return {**super().attention_options(), "softcap": self.config.attn_logit_softcapping}
