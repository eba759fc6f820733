"""Regular expressions of an adapter's config, which anybody may have written.

Python's ``re`` has no limit of time, and some expressions take longer than anybody waits: each
repetition within another doubles the time with every character.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from forgather_convert.errors import SourceError

#: How long an expression may be, in characters.
_LONGEST = 10_000
#: How many parts of any length may follow each other: the time grows with their number as power.
_MOST_REPEATS = 6
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


@lru_cache(maxsize=1024)
def compiled(expression: str) -> re.Pattern[str]:
    """Compiles an expression.

    Raises:
        SourceError: It is none, or one that may take too long.
    """
    try:
        pattern = re.compile(expression) if len(expression) <= _LONGEST else None
        is_quick = pattern is not None and _repeats(_parse(expression), False) <= _MOST_REPEATS
    except (re.error, RecursionError, OverflowError) as error:
        raise SourceError(
            f"The adapter's config has {expression[:100]!r} for a pattern of names, which is no "
            f"regular expression: {error}. Fix adapter_config.json."
        ) from error
    if pattern is None or not is_quick:
        raise SourceError(
            f"The adapter's config has {expression[:100]!r} for a pattern of names, which may take "
            "without end: it is very long, has repetitions in others, or many in a row. Write the "
            "names in a list in adapter_config.json."
        )
    return pattern


def _parse(expression: str) -> Any:
    # Since Python 3.11; before, it is a module of its own.
    parser: Any = getattr(re, "_parser", None) or getattr(re, "sre_parse", None)
    return parser.parse(expression)


def _repeats(parsed: Iterable[tuple[Any, Any]], is_repeated: bool) -> float:
    """How many parts of any length an expression has in a row; infinitely many if they are nested.

    Args:
        parsed: What Python's parser makes of the expression.
        is_repeated: Whether it is repeated itself.
    """
    total = 0.0
    for code, argument in parsed:
        name = str(code)
        if name in _REPEATS:
            fewest, most, inner = argument
            if fewest != most:
                total += float("inf") if is_repeated else 1
            total += _repeats(inner, is_repeated or most > 1)
        elif name == "BRANCH":
            total += float("inf") if is_repeated else 0
            total += max(_repeats(inner, is_repeated) for inner in argument[1])
        elif name in ("SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            inner = argument if name == "ATOMIC_GROUP" else argument[-1]
            total += _repeats(inner, is_repeated)
        elif name == "GROUPREF_EXISTS":
            total += sum(_repeats(inner, is_repeated) for inner in argument[1:] if inner)
    return total
