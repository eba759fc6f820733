"""Reads from a config what describes its model's shape."""

from collections.abc import Collection, Iterable
from pathlib import Path

from forgather_convert.inspection.result import Vocabulary, Window
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.quantization import describe_quantization
from forgather_convert.tensors.dtypes import config_dtype
from forgather_convert.tensors.tensor_ref import TensorRef

_DIMENSIONS = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "num_local_experts",
    "num_experts",
    "num_experts_per_tok",
)
_SLIDING = "sliding_attention"


def dtype_of(config: SourceConfig) -> str | None:
    """The data type that it states, in the current field or the deprecated one."""
    return config_dtype(config.get("dtype")) or config_dtype(config.get("torch_dtype"))


def dimensions_of(config: SourceConfig) -> dict[str, int]:
    """The fields that define the size of a model, if they are numbers."""
    return {name: config[name] for name in _DIMENSIONS if type(config.get(name)) is int}


def window_of(config: SourceConfig) -> Window | None:
    """The window of its attention; ``None`` if it has none."""
    length = config.get("sliding_window")
    if type(length) is not int or config.get("use_sliding_window") is False:
        return None
    types = config.get("layer_types")
    if not isinstance(types, list):
        return Window(length, None)
    return Window(length, types.count(_SLIDING)) if _SLIDING in types else None


def architectures_of(config: SourceConfig) -> tuple[str, ...]:
    """The model classes that it states."""
    names = config.get("architectures")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def quantization_of(config: SourceConfig, directory: Path) -> str | None:
    """The quantization method that it states, or a file beside it."""
    quantization = describe_quantization(config, directory)
    return None if quantization is None else quantization.method


def vocabulary_of(
    config: SourceConfig | None,
    embeddings: Iterable[TensorRef],
    token_ids: Collection[int] | None,
) -> Vocabulary:
    """The numbers of tokens."""
    size = None if config is None else config.get("vocab_size")
    matrices = [ref.shape[0] for ref in embeddings if len(ref.shape) == 2]
    return Vocabulary(
        config=size if type(size) is int else None,
        # There may also be learned positions.
        rows=max(matrices, default=None),
        tokens=None if token_ids is None else len(token_ids),
        highest_id=max(token_ids) if token_ids else None,
    )
