"""Whether a config describes a model of the size that its weights have."""

from collections.abc import Mapping
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors.tensor_ref import TensorRef

#: How many layers a model has, by the names that families have for it.
_LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers")
#: What is a dimension of some weight, likewise.
_DIMENSIONS = (
    "vocab_size",
    "hidden_size",
    "n_embd",
    "d_model",
    "intermediate_size",
    "n_inner",
    "ffn_dim",
    "moe_intermediate_size",
    "num_attention_heads",
    "n_head",
    "num_heads",
    "num_key_value_heads",
    "head_dim",
)
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
#: Up to here, a value may be the default of a field that the model does not use.
_ORDINARY_DIMENSION = 1 << 20
_ORDINARY_NUM_EXPERTS = 1 << 10


def check_against_tensors(config: SourceConfig, tensors: Mapping[str, TensorRef]) -> None:
    """Refuses a config of a model that is far larger than the weights.

    Building a model takes time and memory with the number of its layers and experts, even
    without weights, and even its config object may list every layer; so this comes first.

    Args:
        config: The content of the source's ``config.json``.
        tensors: The source's weights.

    Raises:
        SourceError: With the field that does not fit them.
    """
    dimensions = {size for ref in tensors.values() if ref.num_elements for size in ref.shape}
    largest = max(dimensions, default=0)
    for name in _LAYER_COUNTS:
        if _exceeds(config.get(name), len(tensors)):
            raise _too_large(config, name, f"the weights are {len(tensors)} tensors in all")
    for name in _DIMENSIONS:
        if _exceeds(config.get(name), max(largest, _ORDINARY_DIMENSION)):
            raise _too_large(config, name, f"no dimension of the weights is more than {largest}")
    for name in _EXPERT_COUNTS:
        value = config.get(name)
        if _exceeds(value, _ORDINARY_NUM_EXPERTS) and value not in dimensions:
            raise _too_large(config, name, "no dimension of the weights is so large")


def _exceeds(value: Any, limit: int) -> bool:
    return type(value) is int and value > limit


def _too_large(config: SourceConfig, name: str, problem: str) -> SourceError:
    value = str(config[name])[:40]
    return SourceError(
        f"In {config.origin}, '{name}' is {value}, but {problem}. Check that config and weights "
        "belong to the same model."
    )
