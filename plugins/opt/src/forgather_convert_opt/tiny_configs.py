"""Tiny OPTs: as most of them are, and as OPT-350m."""

from typing import Any

_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 48,
    "ffn_dim": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    # Many versions draw one more random number in each layer, for ``layerdrop``.
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
}

OPT = {
    "plain": _SMALL,
    "like-350m": {
        **_SMALL,
        "word_embed_proj_dim": 32,
        "do_layer_norm_before": False,
    },
    "options-untied": {
        **_SMALL,
        "activation_function": "gelu",
        "enable_bias": False,
        "tie_word_embeddings": False,
    },
}
