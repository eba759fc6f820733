"""Imports converter files, for which this library provides ``forgather.ml.model_conversion``.

The Forgather framework has a package of that name with other contents, which may be imported
before or after. Which of the two an import statement gets depends on the file that contains it:
modules imported here have their own ``__import__`` among their builtins, which Python calls for
all of their import statements, even for those that run later. No other imports change, in any
thread, and the framework's modules in ``sys.modules`` are not touched.

A file's directory becomes a package with a unique name, so that relative imports work, equal file
names do not clash, and ``sys.path`` does not change.
"""

import builtins
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from forgather_convert.errors import ConverterError, cause_of

#: The import path in converter files, and the module that it stands for.
IMPORT_PATH = "forgather.ml.model_conversion"
_OURS = "forgather_convert.model_conversion"
_PACKAGE_PREFIX = "_forgather_converter_"


def import_file(path: Path) -> str:
    """Imports a converter file, unless a neighbouring file has; returns the module's name.

    Raises:
        ConverterError: It fails.
    """
    if _NEIGHBOURS not in sys.meta_path:
        sys.meta_path.insert(0, _NEIGHBOURS)
    package = _PACKAGE_PREFIX + sha256(str(path.parent).encode()).hexdigest()[:12]
    if package not in sys.modules:
        sys.modules[package] = _package(package, path.parent)
    name = f"{package}.{path.stem}"
    if name in sys.modules:
        return name
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConverterError(
            f"The converter file {path} is not a Python file. Give it a name that ends in .py."
        )
    before = set(sys.modules)
    module = module_from_spec(_with_own_imports(spec))
    sys.modules[name] = module
    try:
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        module.__spec__.loader.exec_module(module)
    # A file that calls sys.exit is a broken converter, not the end of the program.
    except (Exception, SystemExit) as error:
        for new in set(sys.modules) - before:
            if new.startswith(f"{package}."):
                del sys.modules[new]
        raise ConverterError(
            f"The converter file {path} cannot be imported: {cause_of(error)}. "
            "Fix the file, or install the missing dependency."
        ) from error
    return name


def _package(name: str, directory: Path) -> ModuleType:
    spec = spec_from_loader(name, loader=None, is_package=True)
    assert spec is not None
    module = module_from_spec(spec)
    module.__path__ = [str(directory)]
    return module


class _Loader(SourceFileLoader):
    """Runs a file with its own builtins, and leaves nothing beside it."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0) -> None:
        """Keeps no bytecode: the directory is the user's, and may be a model's."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _with_own_imports(spec: ModuleSpec) -> ModuleSpec:
    if type(spec.loader) is SourceFileLoader:
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
    return spec


class _Neighbours(MetaPathFinder):
    """Finds only the modules that converter files import from their own directory."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PACKAGE_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        return None if spec is None else _with_own_imports(spec)


_NEIGHBOURS = _Neighbours()


class _View(ModuleType):
    """A package above the import path: one name is ours, all others those that are installed."""

    def __getattr__(self, name: str) -> object:
        try:
            package = import_module(self.__name__)
        except ModuleNotFoundError as error:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'") from error
        return getattr(package, name)


def _views() -> dict[str, ModuleType]:
    """The packages of the import path and the module, by their names."""
    modules: dict[str, ModuleType] = {IMPORT_PATH: import_module(_OURS)}
    parent, _, child = IMPORT_PATH.rpartition(".")
    while parent:
        view = _View(parent)
        setattr(view, child, modules[f"{parent}.{child}"])
        modules[parent] = view
        parent, _, child = parent.rpartition(".")
    return modules


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """The ``__import__`` of converter files, which their import statements call."""
    root = name.partition(".")[0]
    if level or root != IMPORT_PATH.partition(".")[0]:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    if name.startswith(f"{IMPORT_PATH}."):
        raise ModuleNotFoundError(
            f"No module named '{name}'; '{IMPORT_PATH}' is forgather-convert's here, which is not "
            "a package",
            name=name,
        )
    views = _views()
    if name == IMPORT_PATH:
        return views[name] if fromlist else views[root]
    theirs = [child for child in fromlist or () if f"{name}.{child}" not in views]
    if name in views and fromlist and not theirs:
        return views[name]
    module = builtins.__import__(name, globals, locals, theirs, 0)
    return views.get(name, module) if fromlist else views[root]
