"""Tiny EXAONEs: windows as their class derives them, in the layers that are named, and none."""

from forgather_convert import TINY_DECODER

EXAONE4 = {
    # Every fourth layer is without positions.
    "class-defaults": {**TINY_DECODER, "num_hidden_layers": 4, "sliding_window": 8},
    "layer-types-llama3-tied": {
        **TINY_DECODER,
        "head_dim": 24,
        "hidden_act": "gelu",
        "attention_dropout": 0.1,
        "sliding_window": 8,
        "sliding_window_pattern": "LG",
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "tie_word_embeddings": True,
        "rope_theta": 50000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    # All layers have positions.
    "no-windows": {
        **TINY_DECODER,
        "num_key_value_heads": 4,
        "sliding_window": None,
        "sliding_window_pattern": None,
        "layer_types": ["full_attention"] * 3,
    },
}
