"""Tiny SmolLM3s: positions by interval and by list, windows as their class derives them or not."""

from forgather_convert import TINY_DECODER

SMOLLM3 = {
    # RoPE's base is left to the class: 2000000.
    "interval": {**TINY_DECODER, "no_rope_layer_interval": 2, "tie_word_embeddings": True},
    "windows-without-positions": {
        **TINY_DECODER,
        "no_rope_layers": [0, 1, 0],
        "use_sliding_window": True,
        "sliding_window": 8,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_theta": 5000000.0,
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    },
    "windows-by-layer-types": {
        **TINY_DECODER,
        "no_rope_layers": [1, 0, 1],
        "use_sliding_window": True,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
}
