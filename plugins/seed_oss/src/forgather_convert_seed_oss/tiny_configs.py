"""Tiny Seed-OSS models: with their class's biases and dropout, and with all of them reversed."""

from forgather_convert import TINY_DECODER

# Heads are wider than the hidden size divided by their number, as in the published models.
_SMALL = {**TINY_DECODER, "head_dim": 24}

SEED_OSS = {
    "plain": _SMALL,
    "reversed-tied": {
        **TINY_DECODER,
        "head_dim": None,
        "attention_bias": False,
        "attention_out_bias": True,
        "mlp_bias": True,
        "residual_dropout": 0.0,
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
