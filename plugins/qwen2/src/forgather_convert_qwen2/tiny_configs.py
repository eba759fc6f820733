"""Tiny Qwen2s, with windows as their class interprets them, and with experts."""

from forgather_convert import TINY_DECODER

_WINDOWS = {**TINY_DECODER, "use_sliding_window": True, "sliding_window": 8}

QWEN2 = {
    "head-dim-windows-off": {
        **_WINDOWS,
        "head_dim": 32,
        "use_sliding_window": False,
        "max_window_layers": 0,
    },
    "tied-windows-by-max-window-layers": {
        **_WINDOWS,
        "tie_word_embeddings": True,
        "max_window_layers": 1,
    },
    "windows-by-layer-types-yarn-dropout": {
        **_WINDOWS,
        "attention_dropout": 0.1,
        "max_window_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_theta": 1000000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}

_EXPERTS = {
    **TINY_DECODER,
    # The root of a head's size is no power of two.
    "hidden_size": 48,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 40,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}

QWEN2_MOE = {
    "plain": {**_EXPERTS, "num_hidden_layers": 2},
    "options": {
        **_EXPERTS,
        "num_hidden_layers": 4,
        # Only the second layer is sparse.
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
        "norm_topk_prob": True,
        "qkv_bias": False,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": 8,
    },
}

_SECTIONS = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0}

#: Of the text models.
QWEN2_VL = {
    "plain": {**TINY_DECODER, "rope_parameters": _SECTIONS},
    "tied-windows": {
        **_WINDOWS,
        "tie_word_embeddings": True,
        "max_window_layers": 1,
        "rope_parameters": _SECTIONS,
    },
}

QWEN2_5_VL = QWEN2_VL
