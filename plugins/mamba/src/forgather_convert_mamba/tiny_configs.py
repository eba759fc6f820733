"""Tiny Mamba 2 models: as their class has it, and with all options inverted."""

from typing import Any

_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_heads": 8,
    "head_dim": 8,
    "state_size": 12,
    "n_groups": 2,
    "chunk_size": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

MAMBA2 = {
    "plain": _SMALL,
    "biases-tied": {
        **_SMALL,
        "num_heads": 6,
        "head_dim": 16,
        "expand": 3,
        "conv_kernel": 3,
        "use_bias": True,
        "use_conv_bias": False,
        "layer_norm_epsilon": 1e-3,
        "residual_in_fp32": False,
        "tie_word_embeddings": True,
    },
}
