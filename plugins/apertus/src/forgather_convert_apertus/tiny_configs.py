"""Tiny Apertus models: with the scaled positions of the published ones, and with other options."""

from forgather_convert import TINY_DECODER

_SMALL = {**TINY_DECODER, "num_hidden_layers": 2, "hidden_act": "xielu"}

APERTUS = {
    "plain": {
        **_SMALL,
        "rope_theta": 500.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "original_max_position_embeddings": 16,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    },
    "biases-tied": {
        **_SMALL,
        "attention_bias": True,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
    "other-activation": {
        **_SMALL,
        "hidden_act": "relu2",
        "head_dim": 24,
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    },
}
