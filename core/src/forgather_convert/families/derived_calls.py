"""Calls and implementations of hooks, made from their specifications."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from forgather_convert.families.hookspecs import ConverterHooks, hookimpl

Calls = TypeVar("Calls")


def _arguments_of(specification: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(specification).parameters)[1:]


def hook_arguments(specifications: type) -> dict[str, tuple[str, ...]]:
    """For every hook that a class specifies, the arguments that it is called with."""
    return {
        name: _arguments_of(specification)
        for name, specification in vars(specifications).items()
        if not name.startswith("_")
    }


#: The arguments of the hooks that a converter can answer.
HOOK_ARGUMENTS = hook_arguments(ConverterHooks)
HOOK_NAMES = tuple(HOOK_ARGUMENTS)


def calls_hooks(calls: type[Calls]) -> type[Calls]:
    """Lets the hooks that a class inherits from specifications be called.

    Each becomes a method of the specified signature, which gives the hook's name and its arguments
    to the method ``_call`` of the class.
    """
    for name in hook_arguments(calls.__bases__[0]):
        setattr(calls, name, _call_of(getattr(calls, name)))
    return calls


def _call_of(specification: Callable[..., Any]) -> Callable[..., Any]:
    signature, names = inspect.signature(specification), _arguments_of(specification)

    @wraps(specification)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls, *values = signature.bind(*args, **kwargs).arguments.values()
        return calls._call(specification.__name__, **dict(zip(names, values, strict=True)))

    return call


class Implementations:
    """Methods of a converter as implementations of hooks.

    pluggy takes each for a function of the specified signature. Before version 1.7 it would not
    pass arguments that have a default in the implementation, and a converter's methods may have
    defaults or fewer arguments than the hook.

    Args:
        methods: The methods, by the names of the hooks.
        specifications: The class that specifies the hooks.
    """

    def __init__(
        self, methods: Mapping[str, Callable[..., Any]], specifications: type = ConverterHooks
    ) -> None:
        for name, method in methods.items():
            setattr(self, name, hookimpl(_as_specified(method, getattr(specifications, name))))


def _as_specified(method: Callable[..., Any], specification: Any) -> Callable[..., Any]:
    """A function that looks like a specification, and passes on what the method takes."""
    names = _arguments_of(specification)

    # Every version of pluggy reads the names of the arguments from the wrapped function.
    @wraps(specification)
    def answer(*values: Any) -> Any:
        arguments = dict(zip(names, values, strict=True))
        parameters = inspect.signature(method).parameters
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            arguments = {name: value for name, value in arguments.items() if name in parameters}
        return method(**arguments)

    return answer
