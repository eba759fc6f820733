"""Tiny Phis: with and without windows, dropout, LongRoPE and unrotated dimensions."""

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
