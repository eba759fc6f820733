"""Tiny Granites: with their class's factors and with others, none a power of two; experts."""

from forgather_convert import TINY_DECODER

GRANITE = {
    "plain": TINY_DECODER,
    "factors-biases-tied": {
        **TINY_DECODER,
        "embedding_multiplier": 12,
        "attention_multiplier": 0.0078125 * 3,
        "residual_multiplier": 0.22,
        "logits_scaling": 3.7,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_EXPERTS = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "num_local_experts": 6,
    "num_experts_per_tok": 3,
}
_FACTORS = {
    "embedding_multiplier": 12,
    "attention_multiplier": 0.0078125 * 3,
    "residual_multiplier": 0.22,
    "logits_scaling": 3.7,
}

GRANITEMOE = {
    "plain": _EXPERTS,
    "factors-biases-tied": {
        **_EXPERTS,
        **_FACTORS,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

GRANITEMOESHARED = {
    "none-shared": _EXPERTS,
    "shared-factors-biases-tied": {
        **_EXPERTS,
        **_FACTORS,
        "shared_intermediate_size": 40,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

_HYBRID = {
    **_EXPERTS,
    "num_hidden_layers": 4,
    "shared_intermediate_size": 40,
    "mamba_n_heads": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 12,
    "mamba_chunk_size": 16,
}

GRANITEMOEHYBRID = {
    "experts": {
        **_HYBRID,
        "layer_types": [
            "linear_attention",
            "full_attention",
            "linear_attention",
            "linear_attention",
        ],
    },
    "dense-rope-factors-tied": {
        **_HYBRID,
        **_FACTORS,
        "num_hidden_layers": 3,
        "layer_types": ["full_attention", "linear_attention", "full_attention"],
        "num_local_experts": 0,
        "position_embedding_type": "rope",
        "mamba_d_conv": 3,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}
