"""Tiny models of the line that cover every branch of their configs."""

from typing import Any

from forgather_convert import TINY_DECODER

_GPT2_SMALL = {
    "vocab_size": 160,
    "n_positions": 128,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

GPT2 = {
    "tied-with-dropout": _GPT2_SMALL,
    "everything-else": {
        **_GPT2_SMALL,
        "n_inner": 96,
        "activation_function": "relu",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.2,
        "resid_pdrop": 0.3,
        "layer_norm_epsilon": 1e-3,
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
        "tie_word_embeddings": False,
    },
    "scores-in-float32": {
        **_GPT2_SMALL,
        "reorder_and_upcast_attn": True,
        "scale_attn_by_inverse_layer_idx": True,
    },
}

_GPT_NEOX_SMALL = {
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

GPT_NEOX = {
    "parallel-with-dropout": {**_GPT_NEOX_SMALL, "attention_dropout": 0.1, "hidden_dropout": 0.2},
    "sequential-without-biases": {
        **_GPT_NEOX_SMALL,
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

_GPT_OSS_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "head_dim": 16, "num_local_experts": 5}

GPT_OSS = {
    "plain": {
        **_GPT_OSS_EXPERTS,
        "num_experts_per_tok": 2,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "attention_bias": True,
        "rope_theta": 150000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 16,
        },
    },
    "options": {
        **_GPT_OSS_EXPERTS,
        "num_experts_per_tok": 3,
        "head_dim": 24,
        "layer_types": ["full_attention", "full_attention"],
        "attention_bias": False,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "tie_word_embeddings": True,
        # transformers 4 uses the usual ones anyway.
        "swiglu_alpha": 1.5,
        "swiglu_limit": 0.5,
    },
}

GPTJ: dict[str, dict[str, Any]] = {
    "plain": {**_GPT2_SMALL, "n_head": 4, "rotary_dim": 8},
    # The scale of attention, the root of the size of a head, is exact: transformers before 5.24
    # divides by it, and later versions multiply with its inverse.
    "options-tied": {
        **_GPT2_SMALL,
        "n_head": 4,
        "rotary_dim": 12,
        "n_inner": 96,
        "activation_function": "relu",
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.2,
        "resid_pdrop": 0.3,
        "layer_norm_epsilon": 1e-3,
        "tie_word_embeddings": True,
    },
}

CODEGEN = {
    **GPTJ,
    # The root of the size of a head is not exact.
    "options-tied": {**GPTJ["options-tied"], "n_embd": 48},
}
