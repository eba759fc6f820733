"""Values as Python source, in the form that formatters give it."""

import json
from typing import Any

_LINE_LENGTH = 100


def literal(value: Any, indent: int, prefix: int) -> str:
    """A value's source, on one line where it fits and an element a line where it does not.

    Args:
        value: What a JSON file can hold.
        indent: The number of spaces in front of the statement.
        prefix: The number of characters in front of the value, spaces included.
    """
    text = _on_one_line(value)
    if prefix + len(text) < _LINE_LENGTH or not isinstance(value, list | dict) or not value:
        return text
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        items = [
            f"{_on_one_line(key)}: {literal(item, indent + 4, indent + 8 + len(str(key)))}"
            for key, item in value.items()
        ]
        return "{\n" + "".join(f"{inner}{item},\n" for item in items) + " " * indent + "}"
    lines = "".join(f"{inner}{literal(item, indent + 4, indent + 4)},\n" for item in value)
    return f"[\n{lines}{' ' * indent}]"


def annotation(value: Any) -> str:
    """The type of a config field that has a value."""
    if isinstance(value, bool | int | float | str):
        return type(value).__name__
    return "Any"


def _on_one_line(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if isinstance(value, dict):
        items = (f"{_on_one_line(key)}: {_on_one_line(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    return repr(value)
