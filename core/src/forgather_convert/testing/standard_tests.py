"""Keeps the standard tests standard: a suite that leaves one out says so, and says why."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar, cast

import pytest

from forgather_convert.families.converter import HFConverter
from forgather_convert.testing.running import prompt_length

Test = TypeVar("Test", bound=Callable[..., None])

#: What a subclass may define: the attributes that it is asked for, its marks, shared values.
_OWN = ("converter_class", "configs", "pytestmark", "_made")


def expected_failure(test: Test, reason: str) -> Test:
    """A standard test that a converter is known to fail, for a subclass to put in its place.

    The test still runs, and fails the suite on the day it passes::

        class TestMyModel(ConverterConformance):
            test_gradients = expected_failure(
                ConverterConformance.test_gradients,
                reason="fused projections add up in another order",
            )

    Args:
        test: The standard test.
        reason: Why it fails; reports show it.
    """
    if not reason.strip():
        raise ValueError("expected_failure needs a reason: reports show it.")
    original = cast("FunctionType", test)
    # A mark on the test itself would apply to all converters.
    copy = FunctionType(
        original.__code__,
        original.__globals__,
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )
    copy.__dict__.update(original.__dict__)
    copy.__doc__, copy.__qualname__ = original.__doc__, original.__qualname__
    copy.__kwdefaults__, copy.__annotations__ = original.__kwdefaults__, original.__annotations__
    return cast("Test", pytest.mark.xfail(reason=reason, strict=True)(copy))


def check_suite(base: type, suite: type) -> None:
    """Refuses a subclass that is incomplete or that changes what is tested.

    Args:
        base: The class with the standard tests.
        suite: The subclass.

    Raises:
        TypeError: With what is wrong, when the subclass is defined.
    """
    _check_settings(suite)
    _check_marks(suite)
    if not getattr(suite, "__test__", True):
        raise TypeError(f"{suite.__name__} must not switch its tests off with '__test__'.")
    for name, standard in vars(base).items():
        own = inspect.getattr_static(suite, name)
        if name.startswith("__") or name in _OWN or own is standard:
            continue
        if not name.startswith("test_"):
            raise TypeError(f"{suite.__name__} must not redefine '{name}' of {base.__name__}.")
        if not _is_expected_failure(own, standard):
            raise TypeError(
                f"{suite.__name__} must not replace the standard test '{name}'. If the converter "
                f"is known to fail it, write {name} = expected_failure({base.__name__}.{name}, "
                'reason="...").'
            )


def _check_settings(suite: type) -> None:
    converter_class = getattr(suite, "converter_class", None)
    if not (isinstance(converter_class, type) and issubclass(converter_class, HFConverter)):
        raise TypeError(
            f"{suite.__name__} must set 'converter_class' to a subclass of HFConverter, not "
            f"{converter_class!r}."
        )
    configs = getattr(suite, "configs", None)
    if not isinstance(configs, Mapping) or not configs:
        raise TypeError(
            f"{suite.__name__} must set 'configs' to a dictionary of tiny configs, as "
            '{"plain": TINY_DECODER}.'
        )
    for name, fields in configs.items():
        if not isinstance(fields, Mapping) or not fields:
            raise TypeError(
                f"{suite.__name__} gives {fields!r} as the config {name!r}. Give the fields of a "
                "tiny model, as in TINY_DECODER."
            )
        try:
            prompt_length(fields)
        except ValueError as error:
            raise TypeError(f"The config {name!r} of {suite.__name__}: {error}") from error


def _check_marks(suite: type) -> None:
    marks = vars(suite).get("pytestmark", [])
    for mark in marks if isinstance(marks, list) else [marks]:
        if mark.name in ("skip", "skipif", "xfail"):
            raise TypeError(
                f"{suite.__name__} must not mark all standard tests with '{mark.name}'. Use "
                "expected_failure for each test that the converter is known to fail."
            )


def _is_expected_failure(own: Any, standard: Any) -> bool:
    if getattr(own, "__code__", None) is not standard.__code__:
        return False
    added = [mark for mark in own.pytestmark if mark not in getattr(standard, "pytestmark", [])]
    return [mark.name for mark in added] == ["xfail"] and _is_strict(added[0])


def _is_strict(mark: pytest.Mark) -> bool:
    """Whether an ``xfail`` has a reason, always applies, runs the test and is strict."""
    options = dict(mark.kwargs)
    has_reason = bool(options.pop("reason", ""))
    return has_reason and not mark.args and options == {"strict": True}
