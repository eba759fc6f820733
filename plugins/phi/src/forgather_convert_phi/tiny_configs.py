"""Tiny Phis: with and without windows, dropout, LongRoPE, unrotated dimensions and experts."""

from forgather_convert import TINY_DECODER

_PHI_SMALL = {
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

PHI = {
    "plain": _PHI_SMALL,
    "everything-else": {
        **_PHI_SMALL,
        "num_key_value_heads": 2,
        "qk_layernorm": True,
        "tie_word_embeddings": True,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-3,
        "attention_dropout": 0.1,
        "resid_pdrop": 0.2,
        "embd_pdrop": 0.3,
        "partial_rotary_factor": 0.25,
        "rope_theta": 500.0,
    },
}

_PHI3_CONFIG = {**TINY_DECODER, "original_max_position_embeddings": 32}

PHI3 = {
    # With these shapes, the last bits of three products differ from those of the fused one.
    "plain": _PHI3_CONFIG,
    "partial": {**_PHI3_CONFIG, "partial_rotary_factor": 0.75, "tie_word_embeddings": True},
    "partial-longrope-windows-dropout": {
        **_PHI3_CONFIG,
        "partial_rotary_factor": 0.5,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.1 * index for index in range(4)],
            "long_factor": [2.0 + 0.5 * index for index in range(4)],
        },
        "sliding_window": 8,
        "attention_dropout": 0.1,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
    },
}

_PHIMOE_EXPERTS = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "num_local_experts": 6,
    "num_experts_per_tok": 2,
    # Some experts are close enough to the best.
    "router_jitter_noise": 0.3,
}

PHIMOE = {
    "published": {
        **_PHIMOE_EXPERTS,
        "attention_bias": True,
        "lm_head_bias": True,
        "input_jitter_noise": 0.01,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.1 * index for index in range(8)],
            "long_factor": [2.0 + 0.5 * index for index in range(8)],
            "short_mscale": 1.2,
            "long_mscale": 1.3,
            "original_max_position_embeddings": 32,
        },
    },
    "window-tied": {
        **_PHIMOE_EXPERTS,
        "sliding_window": 8,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
    },
}
