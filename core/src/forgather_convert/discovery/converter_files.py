"""Finds and loads converters that are files in a directory, not installed distributions.

A file registers its classes with ``@register_converter("type")``. Which model types a file
registers is found in its text; it runs only when it is needed.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import TypeVar

from forgather_convert.discovery.converter_imports import import_file
from forgather_convert.discovery.declarations import (
    REGISTER,
    Declarations,
    read_declarations,
    undecorated_classes,
)
from forgather_convert.discovery.forgather_tree import ROOT_VARIABLE, forgather_tree
from forgather_convert.discovery.found import Origin, PluginCandidate, Status
from forgather_convert.errors import ConverterError
from forgather_convert.families.converter import HFConverter

logger = logging.getLogger(__name__)

_STANDARD_PLACES = "examples/models/*/src/converter.py"
_FILE_NAME = "converter.py"
_FILE_NAME_END = "_converter.py"
#: How many files are examined to explain that nothing was found.
_MOST_LOOKED_AT = 500

Converter = TypeVar("Converter", bound=type[HFConverter])


@dataclass(frozen=True)
class _Registration:
    module: str
    model_type: str
    converter_class: type[HFConverter]


_registrations: list[_Registration] = []
_loaded_files: dict[Path, list[_Registration]] = {}
#: The registrations made while a file runs, which are attributed to that file.
_running = RLock()


def register_converter(model_type: str) -> Callable[[Converter], Converter]:
    """Registers the decorated class for a model type, for files loaded by the directory scanner."""

    def register(converter_class: Converter) -> Converter:
        if not isinstance(converter_class, type):
            raise ConverterError(
                f"register_converter('{model_type}') decorates {converter_class!r}. "
                "Use it for a subclass of HFConverter."
            )
        # A subclass of another family's converter belongs to a family of its own.
        if "model_type" not in vars(converter_class):
            converter_class.model_type = model_type
        _registrations.append(
            _Registration(converter_class.__module__, model_type, converter_class)
        )
        return converter_class

    return register


def find_in_tree(source: Path | None = None) -> list[PluginCandidate]:
    """Lists the converters of the Forgather working tree, if there is one; runs none of them.

    Other directories, even the current one, are skipped; see :func:`forgather_tree`.
    """
    root = forgather_tree()
    if root is None:
        _log_passed_over()
        return []
    candidates = []
    for path in sorted(root.glob(_STANDARD_PLACES)):
        if lies_in(path, source) or not path.is_file():
            continue
        registrations = read_declarations(path)
        if not registrations.model_types:
            logger.debug("Ignoring %s: it registers no model type by a literal", path)
        candidates += [
            _registered(kind, Origin.TREE, path, registrations)
            for kind in registrations.model_types
        ]
    return candidates


def _log_passed_over() -> None:
    passed_over = sorted(Path().glob(_STANDARD_PLACES))
    if passed_over:
        logger.info(
            "Skipping %s in the current directory, which is not the Forgather working tree that "
            "Python imports from. To use it, name it with --converter-path, or the tree in %s",
            ", ".join(map(str, passed_over)),
            ROOT_VARIABLE,
        )


def find_in_path(path: Path, source: Path | None = None) -> list[PluginCandidate]:
    """Lists the converters in a file, or in a directory and below; runs none of them.

    Files that tell only when they run what they register come last, without a model type.

    Raises:
        ConverterError: The path does not exist, or is inside the source.
    """
    if not path.exists():
        raise ConverterError(
            f"The converter path {path} is not a directory or a file. "
            "Give a directory with a converter.py, or the file itself."
        )
    if lies_in(path, source):
        raise ConverterError(
            f"The converter path {path} is inside the source. Code from a source is never run: "
            "read the converter, and copy it elsewhere if you trust it."
        )
    known, unknown = [], []
    for file in _converter_files(path):
        if lies_in(file, source):
            logger.warning("Ignoring %s: it is inside the source", file)
            continue
        registrations = read_declarations(file)
        logger.debug("%s registers: %s", file, ", ".join(registrations.model_types) or "not known")
        known += [
            _registered(kind, Origin.PATH, file, registrations)
            for kind in registrations.model_types
        ]
        # The user named it, or its name marks it as a converter.
        is_meant = not registrations.model_types and (file == path or file.name == _FILE_NAME)
        if registrations.may_have_more or is_meant:
            unknown.append(_registered(None, Origin.PATH, file, registrations))
    return known + unknown


def describe_search(path: Path) -> list[str]:
    """Describes what a search of a path finds, and which files it skips and why; runs none."""
    lines = [
        f"{each.target} registers {repr(each.model_type) if each.model_type else 'no name'}"
        for each in find_in_path(path)
    ]
    searched = set(_converter_files(path))
    for file in islice(sorted(path.rglob("*.py")) if path.is_dir() else [], _MOST_LOOKED_AT):
        registrations = read_declarations(file)
        is_converter = bool(registrations.model_types or registrations.may_have_more)
        if file not in searched and registrations.model_types:
            lines.append(f"{file} is skipped: it is not named {_FILE_NAME} or *{_FILE_NAME_END}")
        elif file in searched and not is_converter and file.name != _FILE_NAME:
            lines.append(f"{file} is skipped: it registers no model type")
    lines += [
        f"{file} has the class {name}, which is not registered: write "
        f'@{REGISTER}("{model_type}") above it'
        for file in islice(sorted(searched), _MOST_LOOKED_AT)
        for name, model_type in undecorated_classes(file)
    ]
    return lines or [f"{path} has no {_FILE_NAME} and no *{_FILE_NAME_END}"]


def lies_in(path: Path, source: Path | None) -> bool:
    """Whether a path is inside a model's directory, by its name or by the target of a link."""
    if source is None:
        return False
    # abspath does not resolve links.
    # realpath does not fail for a link that points to itself.
    names = (Path(os.path.abspath(path)), Path(os.path.realpath(path)))
    directories = (Path(os.path.abspath(source)), Path(os.path.realpath(source)))
    return any(name.is_relative_to(directory) for name in names for directory in directories)


def load_file(path: Path) -> list[tuple[str, type[HFConverter]]]:
    """Runs a converter file, once per process, and returns its registrations.

    Raises:
        ConverterError: It fails.
    """
    path = path.resolve()
    with _running:
        if path not in _loaded_files:
            _loaded_files[path] = _run(path)
        return [
            (model_type, registration.converter_class)
            for registration in _loaded_files[path]
            for model_type in dict.fromkeys(
                (registration.model_type, *registration.converter_class.aliases)
            )
        ]


def _registered(
    model_type: str | None, origin: Origin, path: Path, declarations: Declarations
) -> PluginCandidate:
    converter = PluginCandidate(model_type, origin, path)
    if declarations.problem:
        problem = f"{path} {declarations.problem}. Fix the file."
        return converter.with_problem(Status.UNREADABLE, problem)
    if declarations.sign_of_the_framework:
        problem = (
            "It is written for the converter classes of the Forgather framework, not for this "
            f"tool's: {declarations.sign_of_the_framework}. Install a plugin for the family, or "
            "write a converter for this tool."
        )
        return converter.with_problem(Status.OF_THE_FRAMEWORK, problem)
    return converter


def _converter_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*.py")
        if (file.name == _FILE_NAME or file.name.endswith(_FILE_NAME_END))
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    )


def _run(path: Path) -> list[_Registration]:
    before = len(_registrations)
    try:
        name = import_file(path)
    except ConverterError:
        del _registrations[before:]
        raise
    return [
        registration
        for position, registration in enumerate(_registrations)
        if position >= before or registration.module == name
    ]
