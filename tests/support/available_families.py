"""The families that the installed transformers has."""

from collections.abc import Iterable

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.capabilities import why_absent


def available(model_types: Iterable[str]) -> list[str]:
    """Those of some model types that the installed transformers has."""
    return [name for name in model_types if why_absent(resolve_converter(name)) is None]
