"""Matches the names in an adapter's config to modules by PEFT's rules, and makes such names.

The rules are those of ``check_target_module_exists`` in ``tuners/tuners_utils.py``, and of
``_set_trainable`` and ``get_pattern_key`` in ``utils/other.py``. PEFT's own functions are not
called: adapters are converted without PEFT, which a second way would have to agree with; its
expressions come from the adapter, and ``re`` may take exponential time for them
(see :mod:`patterns`); and the rules have changed between its versions.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from forgather_convert.adapters.patterns import compiled

ALL_LINEAR = "all-linear"

#: Tells whether a name in a config matches a module.
NameMatcher = Callable[[str, str], bool]


def is_end(name: str, module: str) -> bool:
    """Whether a name is a module's, or the end of it after a dot: the rule for targets."""
    return module == name or module.endswith(f".{name}")


def has_suffix(name: str, module: str) -> bool:
    """Whether a module's name ends with a name, even within a word: for modules to save."""
    return module.endswith(name)


def is_targeted(config: Mapping[str, Any], module: str) -> bool:
    """Whether a config requests an adapter for a module."""
    if _is_one_of(config.get("exclude_modules"), module):
        return False
    saved = config.get("modules_to_save") or ()
    if any(_search(rf"(^|.*\.){name}($|\..*)", module) for name in saved):
        return False
    targets = config.get("target_modules")
    if targets is None or (isinstance(targets, str) and targets.lower() == ALL_LINEAR):
        return True
    if not _is_one_of(targets, module):
        return False
    # If a list has the full name, the number of the layer does not matter.
    return isinstance(targets, str) or module in targets or _is_in_layers(config, module)


def _is_one_of(names: str | Sequence[str] | None, module: str) -> bool:
    """Matches a regular expression (a string), or ends of names (a list)."""
    if isinstance(names, str):
        return bool(names) and compiled(names).fullmatch(module) is not None
    return any(is_end(name, module) for name in names or ())


def _is_in_layers(config: Mapping[str, Any], module: str) -> bool:
    numbers = config.get("layers_to_transform")
    if numbers is None or numbers == []:
        return True
    patterns = config.get("layers_pattern") or []
    patterns = [patterns] if isinstance(patterns, str) else patterns
    expressions = [rf"(?:^|.*?\.){pattern}\.(\d+)\." for pattern in patterns]
    for expression in expressions or [r".*?\.[^.]*\.(\d+)\."]:
        match = _search(expression, module)
        if match is not None:
            number = match[match.lastindex or 0]
            # A pattern may match without the number that should follow.
            return number.isdecimal() and int(number) in (
                numbers if isinstance(numbers, list) else [numbers]
            )
    return False


def key_for(patterns: Iterable[str], module: str) -> str | None:
    """The key of ``rank_pattern`` or ``alpha_pattern`` that applies to a module."""
    return next((key for key in patterns if _search(rf"(.*\.)?({key})$", module)), None)


def shortest_names(
    part: Iterable[str], wanted: Collection[str], all_modules: Collection[str], means: NameMatcher
) -> list[str]:
    """The shortest names that match modules without matching others."""
    names: dict[str, None] = {}
    others = [module for module in all_modules if module not in wanted]
    for module in part:
        if any(means(name, module) for name in names):
            continue
        ends = (end for end in _ends(module) if not any(means(end, other) for other in others))
        names[next(ends, module)] = None
    return list(names)


def _ends(module: str) -> Iterator[str]:
    """The ends of a module's name, shortest first; none begins with the number of a layer."""
    parts = module.split(".")
    for start in reversed(range(len(parts))):
        if not parts[start].isdecimal():
            yield ".".join(parts[start:])


def _search(expression: str, module: str) -> re.Match[str] | None:
    return compiled(expression).match(module)
