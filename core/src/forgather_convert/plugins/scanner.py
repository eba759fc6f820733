"""Converters that are files in a directory, not installed distributions.

A file registers its classes with ``@register_converter("type")``.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from forgather_convert.errors import ConverterError
from forgather_convert.plugins.converter import HFConverter

ROOT_VARIABLE = "FORGATHER_ROOT"
_STANDARD_PLACE = Path("examples") / "models"
_PATTERNS = ("converter.py", "*_converter.py")

Converter = TypeVar("Converter", bound=type[HFConverter])
_registered: list[tuple[str, type[HFConverter]]] = []
_scanned_files: dict[Path, list[tuple[str, type[HFConverter]]]] = {}


def register_converter(model_type: str) -> Callable[[Converter], Converter]:
    """Registers the class below for a model type, where the directory scanner loads its file."""

    def register(converter_class: Converter) -> Converter:
        if not converter_class.model_type:
            converter_class.model_type = model_type
        _registered.append((model_type, converter_class))
        return converter_class

    return register


def standard_directories(source: Path | None = None) -> list[Path]:
    """Where a Forgather working tree keeps its models, if there is one.

    Args:
        source: A model that is to be converted; a working tree in it is not trusted.
    """
    root = Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())
    if source is not None and root.resolve().is_relative_to(source.resolve()):
        return []
    return [source for source in sorted((root / _STANDARD_PLACE).glob("*/src")) if source.is_dir()]


def scan_directory(directory: Path) -> Iterator[tuple[str, Path, type[HFConverter]]]:
    """Loads the converter files below a directory.

    Yields:
        The model type, the file and the class of each registration.

    Raises:
        ConverterError: A file cannot be imported.
    """
    files = {path for pattern in _PATTERNS for path in directory.rglob(pattern)}
    for path in sorted(files):
        for model_type, converter_class in _load(path.resolve()):
            yield model_type, path, converter_class


def _load(path: Path) -> list[tuple[str, type[HFConverter]]]:
    if path in _scanned_files:
        return _scanned_files[path]
    # The file's directory becomes a package of a unique name, so that relative imports
    # work, equal file names do not clash, and sys.path stays as it is.
    package = "_forgather_converter_" + sha256(str(path.parent).encode()).hexdigest()[:12]
    if package not in sys.modules:
        spec = importlib.util.spec_from_loader(package, loader=None, is_package=True)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__path__ = [str(path.parent)]
        sys.modules[package] = module
    name = f"{package}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = len(_registered)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        del _registered[before:]
        raise ConverterError(
            f"The converter file {path} cannot be imported: {type(error).__name__}: {error}. "
            "Correct the file, or install what it needs."
        ) from error
    _scanned_files[path] = _registered[before:]
    return _scanned_files[path]
