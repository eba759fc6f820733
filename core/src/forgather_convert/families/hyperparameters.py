"""Common config fields, from which families compose their ``hyperparameters``."""

from collections.abc import Mapping
from typing import Any

#: The fields of every standard decoder, by their names in both configs.
STANDARD: tuple[str, ...] = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "attention_dropout",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
#: The same under its longer name.
STANDARD_HYPERPARAMETERS = STANDARD

#: Sliding windows that can be disabled, or be limited to some of the layers.
WINDOWS: tuple[str, ...] = (
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "layer_types",
)

#: Fields that only some families have, with the value that means absence. A family that has one
#: lists it in ``hyperparameters``; for other families, any other value is refused.
OPTIONAL_HYPERPARAMETERS: Mapping[str, Any] = {
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "layer_types": None,
}


def without(names: tuple[str, ...], *left_out: str) -> tuple[str, ...]:
    """Removes names, as in ``without(STANDARD, "head_dim")``."""
    return tuple(name for name in names if name not in left_out)
