"""Tiny models: one for every branch of the config that their code has."""

from forgather_convert import TINY_DECODER

LLAMA = {
    "plain": TINY_DECODER,
    "tied": {**TINY_DECODER, "tie_word_embeddings": True},
    "biases": {**TINY_DECODER, "attention_bias": True, "mlp_bias": True},
    "dynamic": {
        **TINY_DECODER,
        "max_position_embeddings": 32,
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    },
    "longrope": {
        **TINY_DECODER,
        "rope_scaling": {
            "rope_type": "longrope",
            "short_factor": [1.0 + 0.1 * i for i in range(8)],
            "long_factor": [2.0 + 0.5 * i for i in range(8)],
            "original_max_position_embeddings": 32,
        },
    },
    # A single key-value head, of another size than the hidden size implies.
    "yarn": {
        **TINY_DECODER,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
            "mscale": 1.0,
            "mscale_all_dim": 0.8,
            "truncate": False,
        },
    },
    # One key head for each query head.
    "llama3": {
        **TINY_DECODER,
        "num_key_value_heads": 4,
        "hidden_act": "gelu",
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "linear": {
        **TINY_DECODER,
        "hidden_act": "gelu_pytorch_tanh",
        "pad_token_id": None,
        "bos_token_id": None,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_ARCEE_SMALL = {**TINY_DECODER, "hidden_act": "relu2"}

ARCEE = {
    "plain": _ARCEE_SMALL,
    "biases-tied": {
        **_ARCEE_SMALL,
        "head_dim": 24,
        "hidden_act": "gelu",
        "attention_bias": True,
        "mlp_bias": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}

_CWM_SMALL = {**TINY_DECODER, "sliding_window": 8}

CWM = {
    # Every fourth layer is without a window, as the class has it.
    "llama3": {
        **_CWM_SMALL,
        "num_hidden_layers": 5,
        "head_dim": 24,
        "rope_theta": 1000000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 16.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "options-tied": {
        **_CWM_SMALL,
        "head_dim": 16,
        "mlp_bias": True,
        "attention_dropout": 0.1,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_LLAMA4_SMALL = {
    **TINY_DECODER,
    "head_dim": 16,
    "intermediate_size_mlp": 80,
    "num_local_experts": 4,
    "attention_chunk_size": 8,
    # Steps within a short prompt.
    "floor_scale": 8,
}

LLAMA4_TEXT = {
    # Every fourth layer is without positions and chunks, and all have experts.
    "scout": {
        **_LLAMA4_SMALL,
        "num_hidden_layers": 4,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "maverick-tied": {
        **_LLAMA4_SMALL,
        "interleave_moe_layer_step": 2,
        "no_rope_layer_interval": 2,
        "use_qk_norm": False,
        "num_experts_per_tok": 2,
        "attn_scale": 0.3,
        "tie_word_embeddings": True,
    },
    "no-temperature": {
        **_LLAMA4_SMALL,
        "moe_layers": [1],
        "no_rope_layers": [0, 1, 0],
        "attn_temperature_tuning": False,
    },
}

#: Of the text models.
LLAVA = {
    "plain": TINY_DECODER,
    "tied-llama3": {**LLAMA["llama3"], "tie_word_embeddings": True},
}
