"""Tiny Qwen2s, with windows as their class interprets them."""

from forgather_convert import TINY_DECODER

_WINDOWS = {**TINY_DECODER, "use_sliding_window": True, "sliding_window": 8}

QWEN2 = {
    "head-dim-windows-off": {
        **_WINDOWS,
        "head_dim": 32,
        "use_sliding_window": False,
        "max_window_layers": 0,
    },
    "tied-windows-by-max-window-layers": {
        **_WINDOWS,
        "tie_word_embeddings": True,
        "max_window_layers": 1,
    },
    "windows-by-layer-types-yarn-dropout": {
        **_WINDOWS,
        "attention_dropout": 0.1,
        "max_window_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_theta": 1000000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}
