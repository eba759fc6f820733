"""Makes text from a source safe to show: a terminal may obey it, or it may pose as ours."""

import re

#: Control characters (C0, DEL, C1), what ends a line or a paragraph elsewhere, what changes
#: the direction of writing, and surrogates, which no terminal can show.
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_IN_LINE = re.compile(f"[{_CONTROLS}\\n\\t]")


def is_plain(name: str) -> bool:
    """Whether a name can be shown as it is: it has no control characters and no line breaks."""
    return _UNSAFE_IN_LINE.search(name) is None


def printable(text: str) -> str:
    r"""A text with control characters shown as escapes, ``\x1b``; lines and tabs stay."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""A text on one line: line breaks are shown as escapes, too, ``\n``."""
    return _UNSAFE_IN_LINE.sub(_escape, text)


def indented(message: str) -> str:
    """A message with its other lines indented, so that none can be taken for another message."""
    first, *rest = message.split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
