"""Converters that are files, not installed modules."""

from pathlib import Path

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.families.converter import HFConverter


def scanned_converter(directory: Path, model_type: str) -> type[HFConverter]:
    """The class that a file below a directory registers with ``@register_converter``.

    It is loaded as ``forgather convert --converter-path`` loads it::

        converter_class = scanned_converter(Path(__file__).parents[1] / "src", "my_model")
    """
    return type(resolve_converter(model_type, (directory,)).converter)
