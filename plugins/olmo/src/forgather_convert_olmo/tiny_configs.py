"""Tiny OLMos: as published, and with biases, bounds, another base of RoPE and the head tied."""

from forgather_convert import TINY_DECODER

_OLMO_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "rms_norm_eps"}

OLMO = {
    "plain": _OLMO_SMALL,
    # Many values are beyond the bound.
    "clipped-biases-tied": {
        **_OLMO_SMALL,
        "clip_qkv": 0.05,
        "attention_bias": True,
        "attention_dropout": 0.1,
        "hidden_act": "gelu",
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
}

OLMO2 = {
    "plain": TINY_DECODER,
    "biases-tied": {
        **TINY_DECODER,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
    },
}
