"""The families that the installed transformers has."""

from collections.abc import Iterable
from functools import cache

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.capabilities import why_absent


def available(model_types: Iterable[str]) -> list[str]:
    """Those of some model types that the installed transformers has.

    Composites are left out: as far as they are converted, they are the text models of others.
    """
    return [name for name in model_types if _is_available(name)]


@cache
def _is_available(model_type: str) -> bool:
    hooks = resolve_converter(model_type)
    return not hooks.is_composite and not why_absent(hooks)
