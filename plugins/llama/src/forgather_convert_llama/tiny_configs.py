"""Tiny Llamas: one for every branch of the config that their code has."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": TINY_DECODER,
    "tied": {**TINY_DECODER, "tie_word_embeddings": True},
    "biases": {**TINY_DECODER, "attention_bias": True, "mlp_bias": True},
    "dynamic": {
        **TINY_DECODER,
        "max_position_embeddings": 32,
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    },
    "longrope": {
        **TINY_DECODER,
        "rope_scaling": {
            "rope_type": "longrope",
            "short_factor": [1.0 + 0.1 * i for i in range(8)],
            "long_factor": [2.0 + 0.5 * i for i in range(8)],
            "original_max_position_embeddings": 32,
        },
    },
}
