"""Tiny Qwen3 MoEs: all layers sparse, and one of them with all options."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import TINY_DECODER

_EXPERTS = {
    **TINY_DECODER,
    "head_dim": 16,
    "moe_intermediate_size": 32,
    "num_experts": 6,
    "num_experts_per_tok": 3,
}

TINY_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {**_EXPERTS, "num_hidden_layers": 2, "norm_topk_prob": True},
    "options": {
        **_EXPERTS,
        "num_hidden_layers": 4,
        # Only the second layer is sparse.
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
        "norm_topk_prob": False,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "use_sliding_window": True,
        "sliding_window": 8,
    },
}
