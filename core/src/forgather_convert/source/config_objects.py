"""Reads fields of transformers' config objects."""

from collections.abc import Iterator
from typing import Any


def field_of(config: Any, name: str, default: Any = None) -> Any:
    """The value of a field; the default if there is none.

    If layers differ in a field, a config object refuses to tell the value of the others, which is
    stored nevertheless.
    """
    stored = vars(config)
    return stored[name] if name in stored else getattr(config, name, default)


def parts_of(config: Any) -> Iterator[Any]:
    """A config object, and those in it of which a composite's parts are built."""
    from transformers import PretrainedConfig

    yield config
    for part in vars(config).values():
        if isinstance(part, PretrainedConfig):
            yield from parts_of(part)
