"""Numbered names: patterns, and lists for messages."""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")

#: Tables that older versions stored with every model, although they follow from the config.
RECOMPUTED = r"\.(?:inv_freq|cos_cached|sin_cached|masked_bias)$"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def placeholders(pattern: str) -> list[str]:
    """The names of a pattern's placeholders, as ``["layer"]``."""
    return _PLACEHOLDER.findall(pattern)


def strip_placeholders(pattern: str) -> str:
    """A pattern without the names of its placeholders, to compare patterns."""
    return _PLACEHOLDER.sub("{}", pattern)


def example_name(pattern: str) -> str:
    """An example of a pattern's names: the one with zeros."""
    return _PLACEHOLDER.sub("0", pattern)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression with a group for every placeholder, which matches a number."""
    parts = _PLACEHOLDER.split(pattern)
    seen: set[str] = set()
    expression = re.escape(parts[0])
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        expression += f"(?P={name})" if name in seen else rf"(?P<{name}>0|[1-9]\d*)"
        expression += re.escape(text)
        seen.add(name)
    return re.compile(expression)


class NamePatterns(Generic[Value]):
    """Patterns with values; finds the first one that matches a name.

    The time does not depend on the number of patterns: only patterns that equal the name apart
    from digits are tried.

    Args:
        patterns: The patterns with their values, in the order in which they are tried.
    """

    def __init__(self, patterns: Iterable[tuple[str, Value]]) -> None:
        self._by_skeleton: dict[str, list[tuple[re.Pattern[str], Value]]] = {}
        for pattern, value in patterns:
            skeleton = _skeleton(example_name(pattern))
            self._by_skeleton.setdefault(skeleton, []).append((compile_pattern(pattern), value))

    def find(self, name: str) -> tuple[Value, dict[str, str]] | None:
        """The value of the first matching pattern, and the numbers of its placeholders."""
        for pattern, value in self._by_skeleton.get(_skeleton(name), ()):
            match = pattern.fullmatch(name)
            if match is not None:
                return value, match.groupdict()
        return None

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None


def _skeleton(name: str) -> str:
    return _DIGITS.sub("0", name)


_DIGITS = re.compile(r"\d+")
_NUMBERED = re.compile(r"(?<=\.)\d+(?=\.)")


def collapse_names(names: Iterable[str], limit: int = 8) -> str:
    """Names for a message; those that differ only in a number share one line.

    ``model.layers.{0..31}.mlp.up_proj.weight``
    """
    lines = _collapsed(names)
    shown = "".join(f"\n  {line}" for line in lines[:limit])
    return shown + (f"\n  and {len(lines) - limit} more" if len(lines) > limit else "")


def enumerate_names(names: Iterable[str], limit: int = 8) -> str:
    """The same on a single line."""
    lines = _collapsed(names)
    more = [f"{len(lines) - limit} more"] if len(lines) > limit else []
    return ", ".join([*lines[:limit], *more])


def _collapsed(names: Iterable[str]) -> list[str]:
    groups: dict[str, list[int]] = {}
    for name in names:
        match = _NUMBERED.search(name)
        key = name if match is None else _NUMBERED.sub("{}", name, count=1)
        groups.setdefault(key, []).append(-1 if match is None else int(match[0]))
    lines = []
    for key, numbers in groups.items():
        low, high = min(numbers), max(numbers)
        span = str(low) if low == high else f"{{{low}..{high}}}"
        lines.append(key.replace("{}", span))
    return lines
