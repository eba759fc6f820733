"""Imports generated code, without a trace on disk or in transformers' caches."""

import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode


@dataclass(frozen=True)
class DynamicModelClasses:
    """The classes that generated code defines."""

    config_class: type[Any]
    model_class: type[Any]


def load_generated_code(code: GeneratedCode) -> DynamicModelClasses:
    """Imports the generated modules as a package of their own.

    The same code is imported once in a process.
    """
    package = "_" + code.model_module
    if package not in sys.modules:
        with tempfile.TemporaryDirectory(prefix="forgather-") as directory, _no_bytecode():
            root = Path(directory)
            for name, text in code.files.items():
                (root / name).write_text(text, encoding="utf-8")
            spec = importlib.machinery.ModuleSpec(package, loader=None, is_package=True)
            module = importlib.util.module_from_spec(spec)
            module.__path__ = [directory]
            sys.modules[package] = module
            try:
                importlib.import_module(f"{package}.{code.model_module}")
            except BaseException:
                del sys.modules[package]
                raise
    config_module = sys.modules[f"{package}.{code.config_module}"]
    model_module = sys.modules[f"{package}.{code.model_module}"]
    return DynamicModelClasses(config_module.DynamicCausalLMConfig, model_module.DynamicCausalLM)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
