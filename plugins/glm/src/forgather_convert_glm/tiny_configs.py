"""Tiny GLMs: parts or all of each head rotated, with and without biases, and with experts."""

from forgather_convert import TINY_DECODER

_SMALL = {**TINY_DECODER, "head_dim": 24}

GLM = {
    "class-defaults": _SMALL,
    "quarter-unbiased-tied": {
        **_SMALL,
        "head_dim": 16,
        "partial_rotary_factor": 0.25,
        "attention_bias": False,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
        "rope_theta": 50000.0,
    },
    "all-rotated": {**_SMALL, "partial_rotary_factor": 1.0},
}

GLM4 = {
    "class-defaults": _SMALL,
    "quarter-unbiased-tied": {
        **_SMALL,
        "head_dim": 16,
        "partial_rotary_factor": 0.25,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "rope_theta": 50000.0,
    },
    "all-rotated": {**_SMALL, "partial_rotary_factor": 1.0},
}

_EXPERTS = {
    **_SMALL,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
}

GLM4_MOE = {
    # As the larger models but for their biases.
    "norms": {
        **_EXPERTS,
        "use_qk_norm": True,
        "first_k_dense_replace": 2,
        "routed_scaling_factor": 2.5,
    },
    # As the smaller ones, and with every option changed.
    "no-norms-options-tied": {
        **_EXPERTS,
        "use_qk_norm": False,
        "attention_bias": True,
        "partial_rotary_factor": 1.0,
        "first_k_dense_replace": 0,
        "n_shared_experts": 2,
        "n_group": 4,
        "topk_group": 2,
        "norm_topk_prob": False,
        "head_dim": 16,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
    },
}

_LATENT = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
}

GLM4_MOE_LITE = {
    "plain": {**_LATENT, "q_lora_rank": 20},
    "options-tied": {
        **_LATENT,
        "q_lora_rank": None,
        "mlp_layer_types": ["sparse", "dense"],
        "n_shared_experts": 2,
        "n_group": 4,
        "topk_group": 2,
        "rope_interleave": False,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}
