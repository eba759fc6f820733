"""Tiny GPT-2s that cover every branch of the config."""

from collections.abc import Mapping
from typing import Any

_SMALL = {
    "vocab_size": 160,
    "n_positions": 128,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "tied-with-dropout": _SMALL,
    "everything-else": {
        **_SMALL,
        "n_inner": 96,
        "activation_function": "relu",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.2,
        "resid_pdrop": 0.3,
        "layer_norm_epsilon": 1e-3,
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
        "tie_word_embeddings": False,
    },
    "scores-in-float32": {
        **_SMALL,
        "reorder_and_upcast_attn": True,
        "scale_attn_by_inverse_layer_idx": True,
    },
}
