"""Tiny gpt-osses: as published, and with every option changed."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "head_dim": 16, "num_local_experts": 5}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {
        **_EXPERTS,
        "num_experts_per_tok": 2,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "attention_bias": True,
        "rope_theta": 150000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 16,
        },
    },
    "options": {
        **_EXPERTS,
        "num_experts_per_tok": 3,
        "head_dim": 24,
        "layer_types": ["full_attention", "full_attention"],
        "attention_bias": False,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "tie_word_embeddings": True,
        # transformers 4 has the usual ones all the same.
        "swiglu_alpha": 1.5,
        "swiglu_limit": 0.5,
    },
}
