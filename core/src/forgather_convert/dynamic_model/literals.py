"""Values as Python source, in the form that formatters give it."""

import json
import math
from typing import Any

_LINE_LENGTH = 100


def literal(value: Any, indent: int, prefix: int) -> str:
    """A value's source, on one line where it fits and an element a line where it does not.

    The source is a literal, whatever the value: ``ast.literal_eval`` gives an equal one.

    Args:
        value: What a JSON file can hold; a tuple is written as the list that it becomes there.
        indent: The number of spaces in front of the statement.
        prefix: The number of characters in front of the value, spaces included.

    Raises:
        ValueError: A JSON file cannot hold it, or it is not a number.
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
    """The type of a config field that has a value."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return "Any"


def _on_one_line(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    # Subclasses, such as enumerations and numpy's numbers, have a repr of their own.
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a dictionary has keys that are not text")
        items = (f"{_quoted(key)}: {_on_one_line(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    raise ValueError(f"it holds a value of type {type(value).__name__}")


def _float(value: float) -> str:
    if math.isnan(value):
        raise ValueError("it holds NaN")
    if math.isinf(value):
        # Beyond the largest number: the literal without a name that a module could rebind.
        return "1e999" if value > 0 else "-1e999"
    return float.__repr__(value)


def _quoted(text: str) -> str:
    """Text in double quotes, with escapes for all that does not print as itself."""
    quoted = json.dumps(str(text), ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
