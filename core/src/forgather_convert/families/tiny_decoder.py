"""The config of a standard decoder that is tiny, for tests of families."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: A standard decoder that is tiny but not degenerate: grouped heads, several layers.
TINY_DECODER: Mapping[str, Any] = MappingProxyType(
    {
        "vocab_size": 160,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 128,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "use_cache": True,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
        "pad_token_id": 0,
    }
)
