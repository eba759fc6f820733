"""Tiny ERNIEs: with biases and without, and heads of the size that the width gives or another."""

from forgather_convert import TINY_DECODER

_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "attention_dropout"}

ERNIE4_5 = {
    "plain-tied": {**_SMALL, "head_dim": 24, "tie_word_embeddings": True},
    "biases-linear-rope": {
        **_SMALL,
        "head_dim": None,
        "num_key_value_heads": 1,
        "hidden_act": "gelu",
        "use_bias": True,
        "rope_theta": 20000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
