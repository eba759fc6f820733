"""Tiny OLMos: as published, and with biases, bounds, another RoPE base, tied heads, experts."""

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

_EXPERTS = {
    **TINY_DECODER,
    # The root of a head's size is no power of two.
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}

OLMOE = {
    "plain": _EXPERTS,
    "options-tied": {
        **_EXPERTS,
        # Some values are beyond it, and most are not.
        "clip_qkv": 1.5,
        "norm_topk_prob": True,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
    },
}
