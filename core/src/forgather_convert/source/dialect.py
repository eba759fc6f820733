"""Reads Forgather models as they exist, by whichever tool and version they were written.

Older models leave out of their config what was the default where they were made, and
call the embedding by another name. transformers, when it saves a model that it trained,
leaves out what is the default of its base config.
"""

from collections.abc import Mapping
from typing import Any

from forgather_convert.source.config_file import SourceConfig
from forgather_convert.weights.tensor_ref import TensorRef

_OLD_EMBEDDING = "causal_lm.input_encoder.embedding.weight"
_EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
_QUERY = "causal_lm.layer_stack.layers.0.attention.query_linear.weight"

#: What a field means where a Forgather config does not have it.
_ABSENT_FIELDS: Mapping[str, Any] = {
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "sliding_window": None,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
}

#: Settings of the older code that say nothing about the model.
_SETTINGS = (
    "activation_dropout",
    "embedding_dropout",
    "layer_dropout",
    "residual_dropout",
    "enable_activation_checkpoint",
    "checkpoint_stride",
    "compile_flex",
    "flex_attn_kernel_options",
    "code_generator",
)


def current_tensor_name(name: str) -> str:
    """The name that a Forgather tensor has today."""
    return _EMBEDDING if name == _OLD_EMBEDDING else name


def current_tensors(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """A Forgather checkpoint's tensors by the names that they have today."""
    return {current_tensor_name(name): ref for name, ref in tensors.items()}


def current_config(config: SourceConfig, tensors: Mapping[str, TensorRef]) -> SourceConfig:
    """A Forgather config with everything said that an older one leaves to be understood.

    Args:
        config: The content of ``config.json``.
        tensors: The weights; they tell the size of a head.
    """
    fields = {name: value for name, value in config.items() if name not in _SETTINGS}
    for name, value in _ABSENT_FIELDS.items():
        fields.setdefault(name, value)
    heads = fields.get("num_attention_heads")
    if fields.get("num_key_value_heads") is None and heads is not None:
        fields["num_key_value_heads"] = heads
    if fields.get("head_dim") is None and heads and _QUERY in tensors:
        fields["head_dim"] = tensors[_QUERY].shape[0] // heads
    return SourceConfig(fields, config.origin)
