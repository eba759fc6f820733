"""Tiny Gemma 2s: as their class has it, and with every option the other way."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "hidden_act"}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    # Scores and logits are large enough for the bounds.
    "windows-softcaps-tied": {
        **_SMALL,
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
    "layer-types-bias-unbounded": {
        **_SMALL,
        # Its square root is not exact in 16 bits.
        "hidden_size": 56,
        "head_dim": 32,
        "hidden_activation": "silu",
        "attention_bias": True,
        "query_pre_attn_scalar": 256,
        "sliding_window": 8,
        "layer_types": ["full_attention", "full_attention", "sliding_attention"],
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
}
