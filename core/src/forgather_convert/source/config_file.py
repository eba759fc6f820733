"""A model's ``config.json`` as a value."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.files.json_file import parse_json_object, read_json_object
from forgather_convert.source.loading_fields import without_loading_fields

CONFIG_FILE = "config.json"
#: The dtype of the weights: the name of today, and the one of older versions.
DTYPE_FIELDS = ("dtype", "torch_dtype")
#: Fields that say who wrote a config, and of which class and dtype its model is; none of them says
#: what the model computes.
BOOKKEEPING = frozenset(
    {
        *DTYPE_FIELDS,
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "auto_map",
        "model_type",
        "transformers_version",
    }
)
#: Fields of transformers' base class for configs that describe a model, not a file or its use.
BASE_CONFIG_FIELDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "tie_word_embeddings",
)


class SourceConfig(Mapping[str, Any]):
    """A config that is read as a mapping or by attributes: ``config.hidden_size``.

    This is what hooks receive: the content of the source's ``config.json`` and, for a Hugging Face
    source, the config class's defaults for fields missing from the file. Fields that choose what
    transformers imports or fetches are never included.

    Attributes:
        origin: The file, for messages.
        ignored: The paths of such fields in the file.
    """

    def __init__(self, fields: Mapping[str, Any], origin: str = CONFIG_FILE) -> None:
        self._fields, self.ignored = without_loading_fields(dict(fields))
        self.origin = origin

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"{self.origin} has no field '{name}'.") from None

    def __repr__(self) -> str:
        return f"SourceConfig({self._fields!r})"

    def updated(self, fields: Mapping[str, Any]) -> "SourceConfig":
        """A copy with new values for the given fields."""
        return SourceConfig({**self._fields, **fields}, self.origin)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._fields)


#: How transformers 5 writes numbers that JSON cannot express: ``{"__float__": "Infinity"}``.
_FLOAT_KEY = "__float__"
_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def _with_floats(value: Any) -> Any:
    """A value from JSON, with numbers that are written as objects converted."""
    if isinstance(value, dict):
        name = value.get(_FLOAT_KEY)
        if len(value) == 1 and isinstance(name, str) and name in _FLOATS:
            return _FLOATS[name]
        return {key: _with_floats(item) for key, item in value.items()}
    return [_with_floats(item) for item in value] if isinstance(value, list) else value


def parse_config(text: str, origin: str) -> SourceConfig:
    """Reads a config from its text.

    Raises:
        SourceError: It is not a JSON object.
    """
    return _config(parse_json_object(text, origin), origin)


def read_config(directory: Path) -> SourceConfig:
    """Reads the ``config.json`` of a directory.

    Raises:
        SourceError: It is not a JSON object.
    """
    path = directory / CONFIG_FILE
    return _config(read_json_object(path), str(path))


def _config(content: Mapping[str, Any], origin: str) -> SourceConfig:
    return SourceConfig({name: _with_floats(value) for name, value in content.items()}, origin)


def is_same_value(one: Any, other: Any) -> bool:
    """Whether two config values are the same; NaN is the same as NaN."""
    return bool(one == other) or repr(one) == repr(other)
