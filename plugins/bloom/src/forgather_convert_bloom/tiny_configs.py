"""Tiny BLOOMs: with a number of heads that is a power of two, and with another one."""

from typing import Any

_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 64,
    "n_layer": 3,
    "n_head": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}

BLOOM = {
    "plain": _SMALL,
    "options-untied": {
        **_SMALL,
        "hidden_size": 48,
        "n_head": 6,
        "layer_norm_epsilon": 1e-3,
        "apply_residual_connection_post_layernorm": True,
        "hidden_dropout": 0.1,
        "attention_dropout": 0.1,
        "tie_word_embeddings": False,
    },
}
