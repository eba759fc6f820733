"""Tiny dots.llm1s: as published, and with windows, groups, biases and the head tied."""

from forgather_convert import TINY_DECODER

_EXPERTS = {
    **TINY_DECODER,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
}

DOTS1 = {
    "plain": {
        **_EXPERTS,
        "num_hidden_layers": 2,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "sliding_window": None,
    },
    "options-tied": {
        **_EXPERTS,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "n_shared_experts": 1,
        "n_group": 4,
        "topk_group": 2,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-05,
        # In the last layer.
        "sliding_window": 8,
        "max_window_layers": 2,
    },
}
