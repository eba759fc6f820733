"""Makes text from a source safe to display: it can neither control a terminal nor pose as ours."""

import re

#: Control characters (C0, DEL, C1), line and paragraph separators, characters that change the
#: writing direction, and surrogates, which no terminal can display.
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_IN_LINE = re.compile(f"[{_CONTROLS}\\n\\t]")


def is_plain(name: str) -> bool:
    """Whether a name can be displayed verbatim: without control characters and line breaks."""
    return _UNSAFE_IN_LINE.search(name) is None


def printable(text: str) -> str:
    r"""Escapes control characters in a text as ``\x1b``; keeps line breaks and tabs."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Puts a text on one line: line breaks are escaped, too, as ``\n``."""
    return _UNSAFE_IN_LINE.sub(_escape, text)


def indented(message: str) -> str:
    """Indents all lines of a message but the first, so that none looks like another message."""
    first, *rest = message.split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
