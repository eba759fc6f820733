"""Tiny Nemotrons, and Nemotron-Hs with all kinds of layers."""

from typing import Any

from forgather_convert import TINY_DECODER

_DENSE = {
    **{name: value for name, value in TINY_DECODER.items() if name != "rms_norm_eps"},
    "num_hidden_layers": 2,
    "hidden_act": "relu2",
}

NEMOTRON = {
    "plain": _DENSE,
    "options-tied": {
        **_DENSE,
        "head_dim": 24,
        "partial_rotary_factor": 1.0,
        "norm_eps": 1e-3,
        "attention_bias": True,
        "mlp_bias": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
}

_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "mamba_num_heads": 4,
    "mamba_head_dim": 12,
    "ssm_state_size": 8,
    "n_groups": 2,
    "chunk_size": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

NEMOTRON_H = {
    "plain": {
        **_SMALL,
        "layers_block_type": ["linear_attention", "mlp", "full_attention", "linear_attention"],
    },
    # The class ties nothing.
    "options": {
        **_SMALL,
        "layers_block_type": ["full_attention", "linear_attention", "mlp"],
        "conv_kernel": 3,
        "use_bias": True,
        "use_conv_bias": False,
        "mlp_bias": True,
        "mlp_hidden_act": "gelu",
        "layer_norm_epsilon": 1e-3,
    },
    "experts": {
        **_SMALL,
        "layers_block_type": ["linear_attention", "moe", "full_attention", "moe", "mlp"],
        "n_routed_experts": 6,
        "num_experts_per_tok": 3,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 24,
        "moe_shared_expert_intermediate_size": 40,
        "routed_scaling_factor": 2.5,
    },
    "latent-experts": {
        **_SMALL,
        "layers_block_type": ["moe", "linear_attention", "full_attention"],
        "n_routed_experts": 4,
        "moe_intermediate_size": 24,
        "moe_shared_expert_intermediate_size": 40,
        "moe_latent_size": 24,
        "norm_topk_prob": False,
    },
}
