"""Compares a converter's methods with the hook specifications."""

import difflib
import inspect
from collections.abc import Iterator

from forgather_convert.families.converter import HFConverter
from forgather_convert.families.derived_calls import HOOK_ARGUMENTS, HOOK_NAMES

#: How similar a misspelt name is to the right one.
_SIMILARITY = 0.85
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def overridden_hooks(converter_class: type[HFConverter]) -> list[str]:
    """The hooks that a converter implements itself."""
    return [
        name
        for name in HOOK_NAMES
        if getattr(converter_class, name) is not getattr(HFConverter, name)
    ]


def signature_problems(converter_class: type[HFConverter]) -> list[str]:
    """Problems that would keep hooks from being called as intended."""
    problems: list[str] = []
    for name in overridden_hooks(converter_class):
        problems += _problems_of(converter_class, name)
    for name in _own_names(converter_class):
        # A helper of the base class is not a misspelt hook.
        similar = difflib.get_close_matches(name, HOOK_NAMES, n=1, cutoff=_SIMILARITY)
        if similar and name not in HOOK_NAMES and not hasattr(HFConverter, name):
            problems.append(f"{name} is never called: there is no such hook. Is it {similar[0]}?")
    return problems


def _problems_of(converter_class: type[HFConverter], name: str) -> Iterator[str]:
    known = HOOK_ARGUMENTS[name]
    static = inspect.getattr_static(converter_class, name)
    method = getattr(converter_class, name)
    if not callable(method):
        yield f"{name} is {method!r}, which cannot be called."
        return
    parameters = list(inspect.signature(method).parameters.values())
    if not isinstance(static, staticmethod | classmethod):
        if not parameters:
            yield f"{name} has no argument 'self'."
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind not in _BY_NAME:
            yield f"{name} takes '{parameter.name}' by position; hooks are called by name."
        elif parameter.name not in known and parameter.default is parameter.empty:
            expected = ", ".join(known) or "none"
            yield f"{name} has an unknown argument '{parameter.name}'; arguments are: {expected}."


def _own_names(converter_class: type[HFConverter]) -> list[str]:
    """The methods that it and its base classes below ``HFConverter`` define."""
    names: dict[str, None] = {}
    for base in converter_class.__mro__:
        if base in HFConverter.__mro__:
            continue
        names.update(dict.fromkeys(key for key, value in vars(base).items() if callable(value)))
    return list(names)
