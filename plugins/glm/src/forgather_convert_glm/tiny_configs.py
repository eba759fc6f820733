"""Tiny GLMs: half, another part or all of each head rotated, with and without biases."""

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
