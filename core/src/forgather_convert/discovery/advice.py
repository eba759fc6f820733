"""Advice if there is no converter for a model type."""

from collections.abc import Sequence

from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.discovery.published import PUBLISHED_DISTRIBUTIONS
from forgather_convert.files.plain_text import one_line

_LONGEST_NAME = 80
#: How many lines of a search are shown.
_MOST_LINES = 12


def no_converter_message(
    model_type: str, installed: Sequence[PluginCandidate], searched: Sequence[str] = ()
) -> str:
    """An error message. The model type is not trusted, and only quoted."""
    enabled = sorted(
        {
            str(converter.model_type)
            for converter in installed
            if converter.status is not Status.DISABLED
        }
    )
    shown = one_line(model_type[:_LONGEST_NAME])
    message = (
        f"No converter registered for model type '{shown}'. Installed converters: "
        f"{', '.join(enabled) or 'none'}. "
    )
    for converter in installed:
        if converter.model_type == model_type:
            return f"{message}{converter.place} has one, but {converter.problem}"
    if model_type in PUBLISHED_DISTRIBUTIONS:
        return (
            f"{message}Install its plugin: 'pip install {PUBLISHED_DISTRIBUTIONS[model_type]}', "
            "with '--find-links DIR' if its wheel is in a directory of yours."
        )
    message += (
        "Install a plugin for the family that you trust, or give the directory of a converter "
        "with --converter-path."
    )
    more = len(searched) - _MOST_LINES
    lines = [*searched[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([f"{message} Searched:" if lines else message, *map(one_line, lines)])
