"""Reads fields of transformers' config objects."""

from typing import Any


def field_of(config: Any, name: str, default: Any = None) -> Any:
    """The value of a field; the default if there is none.

    If layers differ in a field, a config object refuses to tell the value of the others, which is
    stored nevertheless.
    """
    stored = vars(config)
    return stored[name] if name in stored else getattr(config, name, default)
