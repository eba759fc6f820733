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
    "yarn-rope-bias-softcaps": {
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
                "rope_type": "yarn",
                "factor": 4.0,
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
    "yarn-rope-bias": {
        **GEMMA3_TEXT["yarn-rope-bias-softcaps"],
        "final_logit_softcapping": None,
    },
}
