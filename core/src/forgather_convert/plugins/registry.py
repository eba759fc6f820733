"""Finds converters, and loads the one that is needed.

Installed converters are entry points of the group ``forgather.converters``, named by
the ``model_type`` they convert. Listing them reads package metadata and imports nothing.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from forgather_convert.errors import ConverterError, UnsupportedModelError
from forgather_convert.plugins.converter import HFConverter
from forgather_convert.plugins.manager import ConverterHandle
from forgather_convert.plugins.scanner import scan_directory, standard_directories

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "forgather.converters"


@dataclass(frozen=True)
class RegisteredConverter:
    """A converter that was found, and not necessarily imported.

    Attributes:
        model_type: What it converts.
        origin: Where it was found: a distribution with its version, or a file.
        loadable: The entry point, or the class that a scanned file registered.
    """

    model_type: str
    origin: str
    loadable: EntryPoint | type[HFConverter]


def installed_converters() -> dict[str, list[RegisteredConverter]]:
    """All entry points by model type, without importing one."""
    found: dict[str, list[RegisteredConverter]] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        origin = f"{distribution.name} {distribution.version}" if distribution else "unknown"
        converters = found.setdefault(entry_point.name, [])
        # A distribution that is installed twice on the path is found twice.
        if all(known.origin != origin for known in converters):
            converters.append(RegisteredConverter(entry_point.name, origin, entry_point))
    return found


def resolve_converter(
    model_type: str, converter_paths: Iterable[Path] = (), source: Path | None = None
) -> ConverterHandle:
    """Finds and loads the converter for a model type, and only that one.

    Given directories come first, then installed distributions, then the working tree.

    Args:
        model_type: What to convert.
        converter_paths: Directories to search first.
        source: The model; no converter is loaded from it.

    Raises:
        UnsupportedModelError: There is none.
        ConverterError: There are two of the same rank, or it cannot be loaded.
    """
    paths = tuple(converter_paths)
    for directory in paths:
        if not directory.is_dir():
            raise ConverterError(
                f"The converter path {directory} is not a directory. "
                "Give a directory with a converter.py."
            )
    for candidates in _by_priority(model_type, paths, source):
        if len(candidates) > 1:
            origins = " and ".join(candidate.origin for candidate in candidates)
            raise ConverterError(
                f"Two converters claim the model type '{model_type}': {origins}. Uninstall one, "
                "or name the directory of the one to use with --converter-path."
            )
        if candidates:
            return _load(candidates[0])
    installed = ", ".join(sorted(installed_converters())) or "none"
    raise UnsupportedModelError(
        f"No converter registered for model type '{model_type}'. Installed are: "
        f"{installed}. A plugin may be published: try "
        f"'pip install forgather-convert-{model_type.replace('_', '-')}', or name the directory "
        "of a converter with --converter-path."
    )


def _by_priority(
    model_type: str, paths: tuple[Path, ...], source: Path | None
) -> Iterable[list[RegisteredConverter]]:
    for directory in paths:
        yield [found for found in _scanned(directory) if found.model_type == model_type]
    yield installed_converters().get(model_type, [])
    for directory in standard_directories(source):
        yield [found for found in _scanned(directory) if found.model_type == model_type]


def _scanned(directory: Path) -> list[RegisteredConverter]:
    return [
        RegisteredConverter(model_type, str(path), converter_class)
        for model_type, path, converter_class in scan_directory(directory)
    ]


def _load(converter: RegisteredConverter) -> ConverterHandle:
    loaded: Any = converter.loadable
    if isinstance(converter.loadable, EntryPoint):
        try:
            loaded = converter.loadable.load()
        except Exception as error:
            raise ConverterError(
                f"The converter for '{converter.model_type}' of {converter.origin} "
                f"({converter.loadable.value}) cannot be imported: "
                f"{type(error).__name__}: {error}. Reinstall or upgrade it."
            ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, HFConverter)):
        raise ConverterError(
            f"The converter for '{converter.model_type}' of {converter.origin} is {loaded!r}, "
            "which is not a subclass of HFConverter."
        )
    if loaded.model_type != converter.model_type:
        raise ConverterError(
            f"{loaded.__name__} of {converter.origin} is registered for "
            f"'{converter.model_type}', but its model_type is '{loaded.model_type}'."
        )
    logger.debug("Converter for '%s': %s", converter.model_type, converter.origin)
    return ConverterHandle(loaded(), converter.origin)
