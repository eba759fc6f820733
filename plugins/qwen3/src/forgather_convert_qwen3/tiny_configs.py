"""Tiny Qwen3s: with windows and heads as their classes interpret them, and with experts."""

from forgather_convert import TINY_DECODER

_QWEN3_SMALL = {**TINY_DECODER, "head_dim": 16}
_QWEN3_WINDOWS = {**_QWEN3_SMALL, "use_sliding_window": True, "sliding_window": 8}

QWEN3 = {
    "plain": _QWEN3_SMALL,
    "tied": {**_QWEN3_SMALL, "tie_word_embeddings": True},
    # It means 128.
    "missing-head-dim": TINY_DECODER,
    # Disabled windows.
    "attention-bias": {
        **_QWEN3_SMALL,
        "attention_bias": True,
        "use_sliding_window": False,
        "sliding_window": 8,
        "max_window_layers": 0,
    },
    "windows-by-layer-types": {
        **_QWEN3_WINDOWS,
        "max_window_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "windows-by-depth": {
        **_QWEN3_WINDOWS,
        "max_window_layers": 1,
        "rope_theta": 1000000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}

_QWEN3_MOE_EXPERTS = {
    **TINY_DECODER,
    "head_dim": 16,
    "moe_intermediate_size": 32,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}

QWEN3_MOE = {
    "plain": {**_QWEN3_MOE_EXPERTS, "num_hidden_layers": 2, "norm_topk_prob": True},
    "options": {
        **_QWEN3_MOE_EXPERTS,
        "num_hidden_layers": 4,
        # Only the second layer is sparse.
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
        "norm_topk_prob": False,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "use_sliding_window": True,
        "sliding_window": 8,
    },
}

_QWEN3_NEXT_SMALL = {
    **TINY_DECODER,
    "head_dim": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}

QWEN3_NEXT = {
    # Every fourth layer has attention.
    "plain": {**_QWEN3_NEXT_SMALL, "num_hidden_layers": 4},
    "options": {
        **_QWEN3_NEXT_SMALL,
        "num_hidden_layers": 4,
        "layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"],
        "linear_conv_kernel_dim": 3,
        "partial_rotary_factor": 1.0,
        "rope_theta": 50000.0,
        "attention_bias": True,
        # Only the second layer is sparse.
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
        "norm_topk_prob": False,
        "tie_word_embeddings": True,
    },
}

_QWEN3_5_SMALL = {
    **TINY_DECODER,
    "head_dim": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "num_hidden_layers": 4,
}

QWEN3_5_TEXT = {
    # Every fourth layer has attention.
    "plain": _QWEN3_5_SMALL,
    "options": {
        **_QWEN3_5_SMALL,
        "layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"],
        "linear_conv_kernel_dim": 3,
        "partial_rotary_factor": 1.0,
        "rope_theta": 50000.0,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

_QWEN3_5_EXPERTS = {
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}
_WITHOUT_DENSE_LAYERS = {
    name: value for name, value in _QWEN3_5_SMALL.items() if name != "intermediate_size"
}

QWEN3_5_MOE_TEXT = {
    "plain": {**_WITHOUT_DENSE_LAYERS, **_QWEN3_5_EXPERTS},
    "options": {
        **_WITHOUT_DENSE_LAYERS,
        **_QWEN3_5_EXPERTS,
        "num_hidden_layers": 2,
        "layer_types": ["full_attention", "linear_attention"],
        "linear_conv_kernel_dim": 3,
        "partial_rotary_factor": 1.0,
        "rope_theta": 50000.0,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

_QWEN3_VL_SMALL = {
    **_QWEN3_SMALL,
    "rope_parameters": {
        "rope_type": "default",
        "mrope_interleaved": True,
        "mrope_section": [4, 2, 2],
        "rope_theta": 5000000.0,
    },
}

#: Of the text models.
QWEN3_VL = {
    "plain": _QWEN3_VL_SMALL,
    "tied-bias": {**_QWEN3_VL_SMALL, "attention_bias": True, "tie_word_embeddings": True},
}

_QWEN3_5_ROPE = {
    "rope_type": "default",
    "mrope_interleaved": True,
    "mrope_section": [1, 1, 0],
    "partial_rotary_factor": 0.25,
    "rope_theta": 10000000.0,
}

#: Of the text models.
QWEN3_5 = {
    "plain": {**_QWEN3_5_SMALL, "rope_parameters": _QWEN3_5_ROPE},
    "options": {
        **_QWEN3_5_SMALL,
        "num_hidden_layers": 2,
        "layer_types": ["full_attention", "linear_attention"],
        "linear_conv_kernel_dim": 3,
        "rope_parameters": {
            **_QWEN3_5_ROPE,
            "partial_rotary_factor": 1.0,
            "mrope_section": [4, 2, 2],
        },
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

_QWEN3_5_MOE_SMALL = {
    **_WITHOUT_DENSE_LAYERS,
    **_QWEN3_5_EXPERTS,
    "num_hidden_layers": 2,
    "layer_types": ["full_attention", "linear_attention"],
    "rope_parameters": _QWEN3_5_ROPE,
}

#: Of the text models.
QWEN3_5_MOE = {
    "plain": _QWEN3_5_MOE_SMALL,
    "tied-bias": {**_QWEN3_5_MOE_SMALL, "attention_bias": True, "tie_word_embeddings": True},
}
