"""Tiny Mixtrals."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "num_local_experts": 5}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {**_EXPERTS, "num_experts_per_tok": 2},
    "options": {
        **_EXPERTS,
        "num_experts_per_tok": 3,
        "head_dim": 24,
        "sliding_window": 8,
        "tie_word_embeddings": True,
        "router_jitter_noise": 0.1,
    },
}
