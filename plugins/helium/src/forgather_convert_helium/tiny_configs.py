"""Tiny Heliums: with biases and without."""

from forgather_convert import TINY_DECODER

# Its output projection is square.
_SMALL = {**TINY_DECODER, "head_dim": 16}

HELIUM = {
    "plain": _SMALL,
    "biases-tied": {
        **_SMALL,
        # One over the root of 12 and 12 to the power of -1/2 differ in the last bit.
        "hidden_size": 48,
        "head_dim": 12,
        "num_key_value_heads": 1,
        "hidden_act": "gelu",
        "attention_bias": True,
        "mlp_bias": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
        "rope_theta": 50000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
