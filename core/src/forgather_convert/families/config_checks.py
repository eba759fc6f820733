"""Checks of a config that hold for every family."""

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.source.config_file import SourceConfig

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
#: Sizes that follow from others where they are null.
_MAY_BE_NULL = ("num_key_value_heads", "head_dim")


def check_dimensions(config: SourceConfig) -> None:
    """Refuses a config from which no model can be built.

    Raises:
        UnsupportedModelError: With the field that is wrong.
    """
    for name in _SIZES:
        value = config.get(name)
        if value is None and (name in _MAY_BE_NULL or name not in config):
            continue
        if type(value) is not int or value < 1:
            raise _invalid(config, name, "must be a whole number, 1 or more")
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise _invalid(config, "num_key_value_heads", f"must divide the {heads} attention heads")
    vocabulary, padding = config.get("vocab_size"), config.get("pad_token_id")
    if vocabulary and padding is not None and not -vocabulary <= padding < vocabulary:
        raise _invalid(
            config, "pad_token_id", f"must be one of the {vocabulary} tokens of the vocabulary"
        )
    activation = config.get("hidden_act")
    if activation is not None:
        from transformers.activations import ACT2FN

        if activation not in ACT2FN:
            raise _invalid(config, "hidden_act", "must be an activation that transformers knows")


def _invalid(config: SourceConfig, name: str, problem: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"In {config.origin}, '{name}' is {config[name]!r}; it {problem}.")
