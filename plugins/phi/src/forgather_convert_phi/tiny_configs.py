"""Tiny Phis that cover every branch of the config."""

from collections.abc import Mapping
from typing import Any

_SMALL = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": _SMALL,
    "everything-else": {
        **_SMALL,
        "num_key_value_heads": 2,
        "qk_layernorm": True,
        "tie_word_embeddings": True,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-3,
        "attention_dropout": 0.1,
        "resid_pdrop": 0.2,
        "embd_pdrop": 0.3,
        "partial_rotary_factor": 0.25,
        "rope_theta": 500.0,
    },
}
