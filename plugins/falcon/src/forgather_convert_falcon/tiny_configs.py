"""Tiny Falcons of every architecture, and Falcon-H1s with and without factors."""

from typing import Any

from forgather_convert import TINY_DECODER

_SMALL = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "mamba_d_ssm": 48,
    "mamba_n_heads": 4,
    "mamba_n_groups": 2,
    "mamba_d_state": 12,
    "mamba_chunk_size": 16,
}

FALCON_H1 = {
    "plain": _SMALL,
    "factors-biases-tied": {
        **_SMALL,
        "embedding_multiplier": 5.7,
        "lm_head_multiplier": 0.04,
        "attention_in_multiplier": 0.9,
        "attention_out_multiplier": 0.7,
        "key_multiplier": 0.4,
        "mlp_multipliers": [0.9, 0.2],
        "ssm_in_multiplier": 1.3,
        "ssm_out_multiplier": 0.2,
        "ssm_multipliers": [0.35, 0.25, 0.17, 0.5, 0.3],
        "mamba_rms_norm": True,
        "mamba_norm_before_gate": False,
        "mamba_d_conv": 3,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "projectors_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
}

_FALCON_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

FALCON = {
    "multi-query": _FALCON_SMALL,
    "two-norms": {
        **_FALCON_SMALL,
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
        "ffn_hidden_size": 96,
        "bias": True,
        "activation": "relu",
        "layer_norm_epsilon": 1e-3,
        "hidden_dropout": 0.2,
        "tie_word_embeddings": False,
        "rope_theta": 500.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
    "biases-of-keys": {
        **_FALCON_SMALL,
        "hidden_size": 48,
        "num_attention_heads": 6,
        "alibi": True,
        "multi_query": False,
        "parallel_attn": False,
        "bias": True,
        "hidden_dropout": 0.1,
        "attention_dropout": 0.2,
    },
}
