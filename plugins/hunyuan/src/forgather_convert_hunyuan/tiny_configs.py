"""Tiny Hunyuans: with a plain and a stretched rotary embedding."""

from forgather_convert import TINY_DECODER

HUNYUAN_V1_DENSE = {
    "published": {
        **TINY_DECODER,
        "head_dim": 24,
        "tie_word_embeddings": True,
        "rope_scaling": {
            "rope_type": "dynamic",
            "alpha": 1000.0,
            "beta_fast": 32,
            "beta_slow": 1,
            "factor": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    },
    "bias": {
        **TINY_DECODER,
        "num_hidden_layers": 2,
        "head_dim": 16,
        "attention_bias": True,
        "attention_dropout": 0.1,
    },
}
