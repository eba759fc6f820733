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

_OLMO3_SMALL = {**TINY_DECODER, "sliding_window": 8}
# With another one, transformers 5 reads the fields of version 4 differently.
_OLMO3_ROPE = {"rope_type": "default", "rope_theta": 500000.0}

OLMO3 = {
    # Every fourth layer is without a window.
    "yarn": {
        **_OLMO3_SMALL,
        "num_hidden_layers": 4,
        "rope_parameters": {
            "sliding_attention": _OLMO3_ROPE,
            "full_attention": {
                **_OLMO3_ROPE,
                "rope_type": "yarn",
                "factor": 8.0,
                "original_max_position_embeddings": 32,
                "attention_factor": 1.2,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
            },
        },
    },
    "biases-tied": {
        **_OLMO3_SMALL,
        "num_hidden_layers": 2,
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {"sliding_attention": _OLMO3_ROPE, "full_attention": _OLMO3_ROPE},
        "attention_bias": True,
        "tie_word_embeddings": True,
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
