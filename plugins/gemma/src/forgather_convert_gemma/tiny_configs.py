"""Tiny Gemmas: each type with its class's defaults, and with every option changed."""

from forgather_convert import TINY_DECODER

GEMMA = {
    "plain-tied": {
        **TINY_DECODER,
        "hidden_act": "gelu_pytorch_tanh",
        "head_dim": 24,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
    # As published; transformers 5 takes it for the approximation by tanh.
    "exact-gelu-bias-linear-rope": {
        **TINY_DECODER,
        # Its square root is not exact in 16 bits.
        "hidden_size": 56,
        "hidden_act": "gelu",
        "head_dim": 16,
        "num_key_value_heads": 1,
        "attention_bias": True,
        "rope_theta": 50000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_GEMMA2_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "hidden_act"}

GEMMA2 = {
    # Scores and logits are large enough to be capped.
    "windows-softcaps-tied": {
        **_GEMMA2_SMALL,
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
    "layer-types-bias-unbounded": {
        **_GEMMA2_SMALL,
        # Its square root is not exact in 16 bits.
        "hidden_size": 56,
        "head_dim": 32,
        "hidden_activation": "silu",
        "attention_bias": True,
        "query_pre_attn_scalar": 256,
        "sliding_window": 8,
        "layer_types": ["full_attention", "full_attention", "sliding_attention"],
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
}

_GEMMA3_TEXT_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "hidden_act"}
_GEMMA3_TEXT_LOCAL = {"rope_type": "default", "rope_theta": 500.0}

GEMMA3_TEXT = {
    "linear-rope-tied": {
        **_GEMMA3_TEXT_SMALL,
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0},
            "sliding_attention": _GEMMA3_TEXT_LOCAL,
        },
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
    "llama3-rope-bias-softcaps": {
        **_GEMMA3_TEXT_SMALL,
        # Its square root is not exact in 16 bits.
        "hidden_size": 56,
        "head_dim": 32,
        "hidden_activation": "silu",
        "attention_bias": True,
        "query_pre_attn_scalar": 256,
        "sliding_window": 8,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_theta": 20000.0,
            },
            "sliding_attention": _GEMMA3_TEXT_LOCAL,
        },
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
}

#: Of the text models.
GEMMA3 = {
    "linear-rope-tied": GEMMA3_TEXT["linear-rope-tied"],
    "llama3-rope-bias": {
        **GEMMA3_TEXT["llama3-rope-bias-softcaps"],
        "final_logit_softcapping": None,
    },
}

GEMMA3N_TEXT = {
    # As published: layers that reuse keys and values, and tokens that the layers' table lacks.
    "shared-sparse-tied": {
        **_GEMMA3_TEXT_SMALL,
        "intermediate_size": [96, 48, 96, 96, 96, 48, 96],
        # With the class's own kinds of layers, both kinds store, too.
        "num_hidden_layers": 7,
        "layer_types": [
            *["sliding_attention"] * 2,
            "full_attention",
            *["sliding_attention"] * 3,
            "full_attention",
        ],
        "num_kv_shared_layers": 2,
        "activation_sparsity_pattern": [0.95, 0.5, 0.95, 0.0, 0.0, 0.0, 0.0],
        "head_dim": 16,
        "sliding_window": 8,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 20000.0},
            "sliding_attention": _GEMMA3_TEXT_LOCAL,
        },
        "hidden_size_per_layer_input": 24,
        "vocab_size_per_layer_input": 130,
        "altup_num_inputs": 4,
        "laurel_rank": 8,
        "attention_dropout": 0.1,
        "final_logit_softcapping": 3.0,
        "tie_word_embeddings": True,
    },
    "second-stream-bias-linear-rope": {
        **_GEMMA3_TEXT_SMALL,
        # Its square root is not exact in 16 bits.
        "hidden_size": 56,
        "hidden_activation": "silu",
        "attention_bias": True,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "num_kv_shared_layers": 0,
        "head_dim": 16,
        "sliding_window": 8,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0},
            "sliding_attention": _GEMMA3_TEXT_LOCAL,
        },
        "hidden_size_per_layer_input": 24,
        "vocab_size_per_layer_input": 160,
        "altup_num_inputs": 3,
        "altup_active_idx": 1,
        # Smaller than some coefficients.
        "altup_coef_clip": 0.25,
        "altup_correct_scale": False,
        "laurel_rank": 8,
    },
}

#: Of the text model.
GEMMA3N = GEMMA3N_TEXT

_GEMMA4_ROPE = {
    "full_attention": {
        "rope_type": "proportional",
        "partial_rotary_factor": 0.25,
        "rope_theta": 20000.0,
    },
    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
}

GEMMA4_TEXT = {
    # As the small ones are published: a part of the layers reuses keys and values.
    "per-layer-inputs-shared-tied": {
        **_GEMMA3_TEXT_SMALL,
        # With the class's own kinds of layers, both kinds store and reuse, too.
        "num_hidden_layers": 8,
        "layer_types": [*["sliding_attention"] * 3, "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
        "head_dim": 16,
        "global_head_dim": 32,
        "sliding_window": 8,
        "rope_parameters": _GEMMA4_ROPE,
        "hidden_size_per_layer_input": 24,
        "vocab_size_per_layer_input": 160,
        "attention_dropout": 0.1,
        "final_logit_softcapping": 3.0,
        "tie_word_embeddings": True,
    },
    # As the large ones: layers without a window have one projection for keys and values.
    "experts-one-projection": {
        **_GEMMA3_TEXT_SMALL,
        "hidden_size": 56,
        "hidden_activation": "silu",
        "attention_bias": True,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "head_dim": 16,
        "global_head_dim": 32,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "sliding_window": 8,
        "rope_parameters": _GEMMA4_ROPE,
        "hidden_size_per_layer_input": 0,
        "enable_moe_block": True,
        "num_experts": 4,
        "top_k_experts": 2,
        "moe_intermediate_size": 40,
        "use_bidirectional_attention": "vision",
    },
}

#: Of the text model: everything at once.
GEMMA4 = {
    "everything-tied": {
        **GEMMA4_TEXT["experts-one-projection"],
        "num_kv_shared_layers": 1,
        "hidden_size_per_layer_input": 24,
        "vocab_size_per_layer_input": 160,
        "final_logit_softcapping": 3.0,
        "tie_word_embeddings": True,
    },
}
