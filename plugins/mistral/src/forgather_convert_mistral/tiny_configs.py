"""Tiny Mistrals, with the window in the forms that configs have."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_WINDOW = {**TINY_DECODER, "sliding_window": 8}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "window": _WINDOW,
    # It means a window of 4096.
    "missing-window": TINY_DECODER,
    "tied": {**_WINDOW, "tie_word_embeddings": True},
    "null-head-dim": {**_WINDOW, "head_dim": None},
    "no-window": {
        **TINY_DECODER,
        "sliding_window": None,
        "head_dim": 32,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}
