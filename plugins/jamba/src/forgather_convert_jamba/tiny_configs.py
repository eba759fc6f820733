"""Tiny Jambas: with experts in some layers, and without any."""

from forgather_convert import TINY_DECODER

_SMALL = {
    **TINY_DECODER,
    "hidden_size": 32,
    "intermediate_size": 48,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "mamba_d_state": 8,
}

JAMBA = {
    "experts": {
        **_SMALL,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    "dense-biases-tied": {
        **_SMALL,
        "num_experts": 1,
        "num_experts_per_tok": 1,
        "attn_layer_offset": 2,
        "mamba_d_conv": 3,
        "mamba_expand": 3,
        "mamba_dt_rank": 5,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
}
