"""Tiny Qwen3s, with windows and the size of heads as their class reads them."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_SMALL = {**TINY_DECODER, "head_dim": 16}
_WINDOWS = {**_SMALL, "use_sliding_window": True, "sliding_window": 8}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": _SMALL,
    "tied": {**_SMALL, "tie_word_embeddings": True},
    # It means 128.
    "missing-head-dim": TINY_DECODER,
    # Windows that are switched off.
    "attention-bias": {
        **_SMALL,
        "attention_bias": True,
        "use_sliding_window": False,
        "sliding_window": 8,
        "max_window_layers": 0,
    },
    "windows-by-layer-types": {
        **_WINDOWS,
        "max_window_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "windows-by-depth": {
        **_WINDOWS,
        "max_window_layers": 1,
        "rope_theta": 1000000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}
