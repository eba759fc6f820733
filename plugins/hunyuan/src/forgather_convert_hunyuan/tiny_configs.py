"""Tiny Hunyuans: with a plain and a stretched rotary embedding, and with experts."""

from forgather_convert import TINY_DECODER

_STRETCHED = {
    "rope_type": "dynamic",
    "alpha": 1000.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}

HUNYUAN_V1_DENSE = {
    "published": {
        **TINY_DECODER,
        "head_dim": 24,
        "tie_word_embeddings": True,
        "rope_scaling": _STRETCHED,
    },
    "bias": {
        **TINY_DECODER,
        "num_hidden_layers": 2,
        "head_dim": 16,
        "attention_bias": True,
        "attention_dropout": 0.1,
    },
}

_EXPERTS = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "num_experts": 6,
}

HUNYUAN_V1_MOE = {
    # A number of experts for each layer, as published.
    "published": {
        **_EXPERTS,
        "head_dim": 24,
        "moe_topk": [3, 2],
        "tie_word_embeddings": True,
        "rope_scaling": _STRETCHED,
    },
    "bias": {
        **_EXPERTS,
        "head_dim": 16,
        "moe_topk": 2,
        "attention_bias": True,
        "attention_dropout": 0.1,
        "rms_norm_eps": 1e-06,
    },
}
