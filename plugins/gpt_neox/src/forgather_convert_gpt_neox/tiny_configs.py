"""Tiny GPT-NeoXs that cover every branch of the config."""

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
    "parallel-with-dropout": {**_SMALL, "attention_dropout": 0.1, "hidden_dropout": 0.2},
    "sequential-without-biases": {
        **_SMALL,
        "use_parallel_residual": False,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "hidden_act": "gelu_fast",
        "layer_norm_eps": 1e-3,
        "rope_parameters": {
            "rope_type": "linear",
            "factor": 2.0,
            "rope_theta": 500.0,
            "partial_rotary_factor": 0.5,
        },
    },
}
