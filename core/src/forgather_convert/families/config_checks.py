"""Checks configs of any family."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import ORIGINAL_LENGTH

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
#: Sizes of which a config may have one for each layer.
_BY_LAYER = ("intermediate_size",)
#: Sizes that are derived from others if they are null.
MAY_BE_NULL = ("num_key_value_heads", "head_dim")
#: Numbers that the model computes with, and whether they may be 0.
_NUMBERS = {"rms_norm_eps": False, "initializer_range": True, "attention_dropout": True}
#: Numbers that may also be null or negative, or that only some models use.
_FINITE = ("sliding_window", "max_window_layers", "bos_token_id", "eos_token_id")
#: Numbers of RoPE, wherever they are in a config.
_ROPE_NUMBERS = {
    "rope_theta": False,
    "rope_local_base_freq": False,
    "factor": False,
    "attention_factor": False,
    "low_freq_factor": False,
    "high_freq_factor": False,
    "beta_fast": False,
    "beta_slow": False,
    ORIGINAL_LENGTH: False,
    "partial_rotary_factor": False,
    "mscale": True,
    "mscale_all_dim": True,
}
_ROPE_LISTS = ("short_factor", "long_factor")
_ROPE_OBJECTS = ("rope_scaling", "rope_parameters")
#: Activations known to all supported versions of transformers, which then need not be imported.
ACTIVATIONS = frozenset(
    {
        "gelu",
        "gelu_10",
        "gelu_accurate",
        "gelu_fast",
        "gelu_new",
        "gelu_python",
        "gelu_python_tanh",
        "gelu_pytorch_tanh",
        "laplace",
        "leaky_relu",
        "linear",
        "mish",
        "prelu",
        "quick_gelu",
        "relu",
        "relu2",
        "relu6",
        "sigmoid",
        "silu",
        "swish",
        "tanh",
        "xielu",
    }
)
#: The range of torch's sizes.
_LARGEST = 2**63 - 1


def check_dimensions(config: SourceConfig, field_names: Mapping[str, str]) -> None:
    """Refuses a config from which no model can be built.

    Only fields that a model computes with are checked: others may contain ``NaN`` and ``Infinity``
    and are copied, like everything that a family does not know.

    Args:
        config: A Hugging Face or Forgather config.
        field_names: The Forgather names of fields that have another name there.

    Raises:
        UnsupportedModelError: A field has an invalid value.
    """
    own_names = {name: own for own, name in field_names.items() if own in config}

    def field(name: str) -> str:
        return own_names.get(name, name)

    for name in map(field, _SIZES):
        value = config.get(name)
        if value is None and (name in MAY_BE_NULL or name not in config):
            continue
        by_layer = isinstance(value, list) and name in map(field, _BY_LAYER)
        sizes: Any = value if by_layer else [value]
        for size in sizes:
            if type(size) is not int or size < 1:
                raise _invalid(config, name, "must be a whole number, 1 or more")
            if size > _LARGEST:
                raise _invalid(config, name, "must be less than 2**63")
    for name, may_be_zero in _NUMBERS.items():
        if config.get(field(name)) is not None:
            _check_number(config, field(name), config[field(name)], may_be_zero)
    for name in _FINITE:
        value = config.get(name)
        if isinstance(value, int | float) and not _is_finite(value):
            raise _invalid(config, name, "must be a finite number")
    _check_rope(config)
    heads, groups = config.get(field("num_attention_heads")), config.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise _invalid(config, "num_key_value_heads", f"must divide the {heads} attention heads")
    vocabulary, padding = config.get("vocab_size"), config.get("pad_token_id")
    if padding is not None and type(padding) is not int:
        raise _invalid(config, "pad_token_id", "must be a whole number or null")
    if vocabulary and padding is not None and not -vocabulary <= padding < vocabulary:
        raise _invalid(
            config, "pad_token_id", f"must be one of the {vocabulary} tokens of the vocabulary"
        )
    activation = config.get(field("hidden_act"))
    if activation is not None and not (isinstance(activation, str) and _is_known(activation)):
        raise _invalid(config, field("hidden_act"), "must be an activation that transformers knows")


def check_kinds(config: SourceConfig, standard: Mapping[str, Any]) -> None:
    """Refuses values of another type than the model computes with.

    For fields that a model's code uses directly: null or empty values are not replaced by
    defaults.

    Args:
        config: A Forgather config.
        standard: The fields with values of the right type.

    Raises:
        UnsupportedModelError: A field has an invalid value.
    """
    # RoPE's fields have several equivalent forms.
    names = (standard.keys() & config.keys()) - {"rope_scaling", "rope_parameters"}
    for name in sorted(names):
        expected = standard[name]
        if _kind(config[name]) is not _kind(expected):
            raise _invalid(config, name, f"must be {_shown(expected)} in this model")


def check_windows(config: SourceConfig, hyperparameters: Collection[str]) -> None:
    """Refuses a config that has sliding layers but no valid window size.

    Args:
        config: A Hugging Face or Forgather config, with ``layer_types`` if it has several kinds.
        hyperparameters: The fields that the family's models are built from.

    Raises:
        UnsupportedModelError: The window size is invalid.
    """
    if "sliding_window" not in hyperparameters or "sliding_window" not in config:
        return
    kinds, size = config.get("layer_types"), config["sliding_window"]
    is_needed = isinstance(kinds, list) and "sliding_attention" in kinds
    is_used = is_needed or (kinds is None and size is not None)
    if is_used and (type(size) is not int or size < 1):
        raise _invalid(config, "sliding_window", "must be a whole number, 1 or more")


def _kind(value: Any) -> type:
    kinds: tuple[type, ...] = (bool, int, str, list, dict)
    value = int(value) if isinstance(value, float) and _is_finite(value) else value
    return next((kind for kind in kinds if isinstance(value, kind)), type(value))


def _is_known(activation: str) -> bool:
    if activation in ACTIVATIONS:
        return True
    from transformers.activations import ACT2FN

    return activation in ACT2FN


def _check_rope(config: SourceConfig) -> None:
    for name, may_be_zero in _ROPE_NUMBERS.items():
        if config.get(name) is not None:
            _check_number(config, name, config[name], may_be_zero)
    for path, name, value in _rope_items(config):
        if name in _ROPE_NUMBERS and value is not None:
            _check_number(config, path, value, _ROPE_NUMBERS[name])
        elif name in _ROPE_LISTS and isinstance(value, list):
            for index, item in enumerate(value):
                _check_number(config, f"{path}[{index}]", item, may_be_zero=False)


def _rope_items(config: SourceConfig) -> Iterator[tuple[str, str, Any]]:
    """The entries of all objects with RoPE parameters, including those for a kind of layer."""
    for name in _ROPE_OBJECTS:
        parameters = config.get(name)
        if not isinstance(parameters, Mapping):
            continue
        for key, value in parameters.items():
            if isinstance(value, Mapping):
                yield from ((f"{name}.{key}.{inner}", inner, item) for inner, item in value.items())
            else:
                yield f"{name}.{key}", key, value


def _check_number(config: SourceConfig, path: str, value: Any, may_be_zero: bool) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not _is_finite(value):
        raise _bad(config, path, value, "must be a finite number")
    if value < 0 or (value == 0 and not may_be_zero):
        raise _bad(config, path, value, f"must be {'0 or more' if may_be_zero else 'more than 0'}")
    if path.endswith(ORIGINAL_LENGTH) and value != int(value):
        raise _bad(config, path, value, "must be a whole number")


def _is_finite(value: int | float) -> bool:
    return abs(value) <= _LARGEST


def _invalid(config: SourceConfig, name: str, problem: str) -> UnsupportedModelError:
    return _bad(config, name, config[name], problem)


def _bad(config: SourceConfig, path: str, value: Any, problem: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"In {config.origin}, '{path}' is {_shown(value)}; it {problem}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
