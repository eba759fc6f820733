"""Tiny Phi-3s: with and without windows, dropout, LongRoPE and dimensions that do not turn."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_CONFIG = {**TINY_DECODER, "original_max_position_embeddings": 32}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    # On these shapes three products have other last bits than the fused one.
    "plain": _CONFIG,
    "partial": {**_CONFIG, "partial_rotary_factor": 0.75, "tie_word_embeddings": True},
    "partial-longrope-windows-dropout": {
        **_CONFIG,
        "partial_rotary_factor": 0.5,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.1 * index for index in range(4)],
            "long_factor": [2.0 + 0.5 * index for index in range(4)],
        },
        "sliding_window": 8,
        "attention_dropout": 0.1,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
    },
}
