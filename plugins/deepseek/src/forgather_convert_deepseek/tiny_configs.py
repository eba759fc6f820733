"""Tiny DeepSeeks: as published except for biases, and with every option changed."""

from forgather_convert import TINY_DECODER

_LATENT = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
}

DEEPSEEK_V3 = {
    "plain": {
        **_LATENT,
        "q_lora_rank": 20,
        "attention_bias": True,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "rope_interleave": True,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "mscale": 0.8,
            "mscale_all_dim": 1.2,
            "original_max_position_embeddings": 16,
        },
    },
    "options": {
        **_LATENT,
        "q_lora_rank": None,
        "first_k_dense_replace": 0,
        "n_shared_experts": 2,
        "rope_interleave": False,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.5,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
    },
}

DEEPSEEK_V2 = {
    # Like the small published models.
    "plain": {
        **_LATENT,
        "q_lora_rank": None,
        "topk_method": "greedy",
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "n_shared_experts": 2,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "mscale": 0.8,
            "mscale_all_dim": 1.2,
            "original_max_position_embeddings": 16,
        },
    },
    "groups-options-tied": {
        **_LATENT,
        "q_lora_rank": 20,
        "attention_bias": True,
        "topk_method": "group_limited_greedy",
        "first_k_dense_replace": 0,
        "n_shared_experts": 1,
        "routed_scaling_factor": 1.5,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
    },
}
