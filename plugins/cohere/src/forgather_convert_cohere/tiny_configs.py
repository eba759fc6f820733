"""Tiny Cohere2s: layers as their class derives them, and with all options inverted."""

from forgather_convert import TINY_DECODER

_SMALL = {
    **{name: value for name, value in TINY_DECODER.items() if name != "rms_norm_eps"},
    "sliding_window": 8,
}

COHERE2 = {
    # Every fourth layer is without positions, and the head is tied.
    "class-defaults": {**_SMALL, "num_hidden_layers": 4, "tie_word_embeddings": True},
    "options": {
        **_SMALL,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "layer_norm_eps": 1e-3,
        "logit_scale": 0.3,
        "attention_bias": True,
        "rope_theta": 50000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
