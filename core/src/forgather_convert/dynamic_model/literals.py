"""Values as Python source, in the style of a formatter."""

import json
import math
from typing import Any

_LINE_LENGTH = 100


def literal(value: Any, indent: int, prefix: int) -> str:
    """A value's source, on one line if it fits, otherwise with one element per line.

    The source is always a literal: ``ast.literal_eval`` returns an equal value.

    Raises:
        ValueError: It is not a JSON value, or is NaN.
    """
    text = _on_one_line(value)
    if prefix + len(text) < _LINE_LENGTH or not isinstance(value, list | tuple | dict) or not value:
        return text
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        items = []
        for key, item in value.items():
            start = f"{_on_one_line(key)}: "
            items.append(start + literal(item, indent + 4, indent + 4 + len(start)))
        return "{\n" + "".join(f"{inner}{item},\n" for item in items) + " " * indent + "}"
    lines = "".join(f"{inner}{literal(item, indent + 4, indent + 4)},\n" for item in value)
    return f"[\n{lines}{' ' * indent}]"


def annotation(value: Any) -> str:
    """The type annotation for a config field with a value."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return "Any"


def _on_one_line(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    # Subclasses, such as enumerations and numpy's numbers, have their own repr.
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a dictionary has keys that are not strings")
        items = (f"{_quoted(key)}: {_on_one_line(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    raise ValueError(f"it holds a value of type {type(value).__name__}")


def _float(value: float) -> str:
    if math.isnan(value):
        raise ValueError("it holds NaN")
    if math.isinf(value):
        # A number too large for a float: a literal for infinity without a name.
        return "1e999" if value > 0 else "-1e999"
    return float.__repr__(value)


def _quoted(text: str) -> str:
    """Text in double quotes, with escapes for unprintable characters."""
    quoted = json.dumps(str(text), ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
