"""Normalizes Forgather models written by other tools and versions.

Older models omit the defaults of the tool that made them from their config, and name the embedding
differently. When transformers saves a model that it trained, it omits the defaults of its base
config.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

_OLD_EMBEDDING = "causal_lm.input_encoder.embedding.weight"
_EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
_HEAD = "lm_head.weight"
_QUERY = "causal_lm.layer_stack.layers.0.attention.query_linear.weight"

#: The meaning of fields that are missing from a Forgather config.
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

#: The framework's own converter gave its models this class name, with this spelling.
_OLD_ARCHITECTURE = "DynamicCasualLM"
#: Settings of that converter's models that Hugging Face models do not have.
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


def second_names_of(
    config: Mapping[str, Any], names: Collection[str], is_tied_by_default: bool = False
) -> Mapping[str, str]:
    """The second names of tensors in a Forgather model with these tensors.

    A head without a weight of its own is the embedding. Where both are stored, the config tells.

    Args:
        config: The content of ``config.json``.
        names: The tensors' names in a Forgather model.
        is_tied_by_default: What a config without the field means.
    """
    is_tied = config.get("tie_word_embeddings", is_tied_by_default)
    is_stored = _HEAD in names and not is_tied
    return {_HEAD: _EMBEDDING} if _EMBEDDING in names and not is_stored else {}


def normalize_tensor_name(name: str) -> str:
    """The current name of a Forgather tensor."""
    return _EMBEDDING if name == _OLD_EMBEDDING else name


def normalize_tensors(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """A Forgather checkpoint's tensors by their current names."""
    return {normalize_tensor_name(name): ref for name, ref in tensors.items()}


def _is_of_the_framework(config: SourceConfig) -> bool:
    """Whether the Forgather framework's own converter, not this tool, wrote a config."""
    given = config.get("architectures")
    architectures = given if isinstance(given, list) else ()
    if _OLD_ARCHITECTURE in architectures:
        return True
    return "DynamicCausalLM" not in architectures and "code_generator" in config


def _without_settings(config: SourceConfig, hyperparameters: Collection[str]) -> dict[str, Any]:
    if not _is_of_the_framework(config):
        return dict(config)
    dropped = [name for name in _SETTINGS if name in config and name not in hyperparameters]
    active = [f"{name} {config[name]}" for name in dropped if "dropout" in name and config[name]]
    if active:
        logger.warning(
            "%s has %s, which Hugging Face models of this family do not support; it is dropped",
            config.origin,
            ", ".join(active),
        )
    return {name: value for name, value in config.items() if name not in dropped}


def normalize_config(
    config: SourceConfig,
    tensors: Mapping[str, TensorRef | Expression],
    hyperparameters: Collection[str] = (),
) -> SourceConfig:
    """A Forgather config with everything stated that older configs leave implicit.

    Args:
        config: The content of ``config.json``.
        tensors: The weights, from which the head size follows.
        hyperparameters: The names of the family's fields.
    """
    fields = _without_settings(config, hyperparameters)
    for name, value in _ABSENT_FIELDS.items():
        fields.setdefault(name, value)
    heads = fields.get("num_attention_heads")
    if fields.get("num_key_value_heads") is None and heads is not None:
        fields["num_key_value_heads"] = heads
    if fields.get("head_dim") is None and heads and _QUERY in tensors:
        fields["head_dim"] = tensors[_QUERY].shape[0] // heads
    return SourceConfig(fields, config.origin)
