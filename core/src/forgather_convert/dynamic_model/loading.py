"""Imports generated code without leaving traces in transformers' caches or on the disk."""

import atexit
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode
from forgather_convert.errors import ConverterError, cause_of


@dataclass(frozen=True)
class DynamicModelClasses:
    """The classes that generated code defines."""

    config_class: type[Any]
    model_class: type[Any]


def load_generated_code(code: GeneratedCode) -> DynamicModelClasses:
    """Imports the generated modules as a separate package.

    The same code is imported only once per process.

    Raises:
        ConverterError: A component of a plugin cannot be imported.
    """
    try:
        module = import_modules(code.files, (code.model_module,))[code.model_module]
    # Components of plugins may raise anything.
    except Exception as error:
        raise ConverterError(
            f"The generated model {code.model_module}.py cannot be imported: "
            f"{cause_of(error)}. Fix the component that raised it."
        ) from error
    return DynamicModelClasses(module.DynamicCausalLMConfig, module.DynamicCausalLM)


def import_modules(files: Mapping[str, str], names: Iterable[str]) -> dict[str, ModuleType]:
    """Imports modules of a package that consists only of the given files.

    The package's name is a hash of its content, so that two models never share a module. Its files
    exist until the process ends.

    Raises:
        Exception: Any exception of the code.
    """
    package = "_forgather_model_" + _digest(files)
    directory = code_directory() / package
    with _no_bytecode():
        if package not in sys.modules:
            directory.mkdir(exist_ok=True)
            for name, text in files.items():
                (directory / name).write_text(text, encoding="utf-8")
            spec = importlib.machinery.ModuleSpec(package, loader=None, is_package=True)
            sys.modules[package] = importlib.util.module_from_spec(spec)
            sys.modules[package].__path__ = [str(directory)]
        try:
            return {name: importlib.import_module(f"{package}.{name}") for name in names}
        except BaseException:
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
            raise


@cache
def code_directory() -> Path:
    """The directory for the files of all packages, which is removed when the process ends.

    The files are also read after the import: transformers opens the file of a model's class to
    make a model (5.0 to 5.12) and to change its attention implementation (4.57), and compilers
    and debuggers look for the source of what they run.
    """
    directory = tempfile.TemporaryDirectory(prefix="forgather-", ignore_cleanup_errors=True)
    atexit.register(directory.cleanup)
    return Path(directory.name)


def _digest(files: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name, files[name]):
            content = part.encode("utf-8")
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32]


@contextmanager
def _no_bytecode() -> Iterator[None]:
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
