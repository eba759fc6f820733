"""Attention with soft-capped scores."""

from typing import Any

from .causal_attention import CausalAttention


class SoftcappedAttention(CausalAttention):
    """Causal attention, its scores soft-capped at the config's ``attn_logit_softcapping``.

    Gemma Team, "Gemma 2", 2024.
    """

    def attention_options(self) -> dict[str, Any]:
        return {**super().attention_options(), "softcap": self.config.attn_logit_softcapping}
