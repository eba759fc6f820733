"""Collects the files of a dynamic model's components, with the files that they import."""

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from forgather_convert.dynamic_model.component_signatures import ComponentClass, read_class
from forgather_convert.dynamic_model.project import OPTIONAL_ROLES, Project, RoleBinding
from forgather_convert.errors import ConverterError

_STANDARD_COMPONENTS = Path(__file__).resolve().parent / "components"

#: The function that every model uses besides the components that fill its roles.
_FUNCTIONS = (
    ("attention_masks", "attention_types"),
    ("attention_masks", "create_attention_masks"),
    ("cache_arguments", "CACHE"),
    ("cache_arguments", "NEEDS_CACHE_POSITION"),
    ("context", "Context"),
)
#: The functions that a model also uses if its config has ``output_router_logits``.
ROUTER_LOGITS_FIELD = "output_router_logits"
_ROUTER_FUNCTIONS = (
    ("router_logits", "load_balancing_loss"),
    ("router_logits", "recorded_router_logits"),
)
#: The function that a model also uses if its config has values for single layers.
LAYER_OVERRIDES_FIELD = "layer_overrides"
_LAYER_FUNCTIONS = (("layer_config", "layer_config"),)
#: The functions that a model also uses if it has mixers other than attention.
MIXER = "mixer"
_MIXER_FUNCTIONS = (
    ("recurrent_cache", "HAS_RECURRENT_CACHE"),
    ("recurrent_cache", "create_cache"),
    ("recurrent_cache", "num_seen"),
)

#: The only form of import between components.
RELATIVE_IMPORT = re.compile(r"^( *from )\.(\w+)( import )", re.MULTILINE)

#: Lines that transformers' loader takes for the import of a file, wherever they are.
_SEEN_BY_TRANSFORMERS = re.compile(
    r"^\s*(?:import\s+\.(\S+)\s*$|from\s+\.(\S+)\s+import)", re.MULTILINE
)


class Symbol(NamedTuple):
    """A class or function and its module."""

    module: str
    name: str


@dataclass(frozen=True)
class Component:
    """A component that fills a role.

    Attributes:
        symbol: Its class.
        source: The class as described by its source.
    """

    symbol: Symbol
    source: ComponentClass


@dataclass(frozen=True)
class ComponentFiles:
    """The files of a project's components.

    Attributes:
        sources: The text of each file, by the name of its module in the model, under which other
            modules import it.
        components: The components of each role, by kind of layer.
        functions: Further functions that the model uses, by their names.
        indirect: For every module that only other components import, one name defined in it.
    """

    sources: Mapping[str, str]
    components: Mapping[str, Mapping[str | None, Component]]
    functions: Sequence[Symbol]
    indirect: Sequence[Symbol]


@dataclass(frozen=True)
class _File:
    text: str
    tree: ast.Module
    relative_imports: tuple[ast.ImportFrom, ...]
    #: The imported files, by the module names in its text.
    imports: dict[str, Path] = field(default_factory=dict)


def collect_components(project: Project, taken: Iterable[str]) -> ComponentFiles:
    """Reads the components that a project names, and the files that they import.

    A component that the project names is looked up among the plugin's before core's; one that it
    does not name is core's. Imports refer to files in the same directory: core's components import
    core's, whatever files the plugin has. A plugin's component may import core's if the plugin has
    no file of that name. Files of the same name from two directories get different names.

    Args:
        project: The dynamic model.
        taken: Module names that are not available for components.

    Raises:
        ConverterError: A component does not exist, cannot be read, does not define the expected
            class, or has an import that transformers' loader does not support.
    """
    own = [Path(path).resolve() for path in project.component_paths]
    files: dict[Path, _File] = {}
    paths: dict[RoleBinding, Path] = {}
    classes: dict[RoleBinding, ComponentClass] = {}
    for binding in sorted(
        project.role_bindings(), key=lambda binding: binding.role in OPTIONAL_ROLES
    ):
        if binding.role in OPTIONAL_ROLES and not _is_asked_for(binding.role, classes.values()):
            continue
        directories = own if binding.role in project.components else []
        path = _find(project, binding.module, [*directories, _STANDARD_COMPONENTS])
        _add(project, path, own, files)
        _check_defines(files[path], path, binding.name)
        paths[binding] = path
        classes[binding] = _read_class(files, path, binding.name)
    functions = [
        (_STANDARD_COMPONENTS / f"{module}.py", name)
        for module, name in _functions(
            project, has_mixers=any(each.role == MIXER for each in paths)
        )
    ]
    for path, _ in functions:
        _add(project, path, own, files)

    modules = _module_names(files, taken)
    components: dict[str, dict[str | None, Component]] = {}
    for binding, path in paths.items():
        components.setdefault(binding.role, {})[binding.kind] = Component(
            Symbol(modules[path], binding.name), classes[binding]
        )
    direct = {*(path for path, _ in functions), *paths.values()}
    return ComponentFiles(
        sources={modules[path]: _renamed(path, file, modules) for path, file in files.items()},
        components=components,
        functions=[Symbol(modules[path], name) for path, name in functions],
        indirect=sorted(
            Symbol(modules[path], _something_in(path, file))
            for path, file in files.items()
            if path not in direct
        ),
    )


def _functions(project: Project, has_mixers: bool) -> tuple[tuple[str, str], ...]:
    return (
        *_FUNCTIONS,
        *(_ROUTER_FUNCTIONS if ROUTER_LOGITS_FIELD in project.config else ()),
        *(_LAYER_FUNCTIONS if LAYER_OVERRIDES_FIELD in project.config else ()),
        *(_MIXER_FUNCTIONS if has_mixers else ()),
    )


def _is_asked_for(role: str, classes: Iterable[ComponentClass]) -> bool:
    return any(argument.name == role for each in classes for argument in each.arguments)


def _read_class(files: Mapping[Path, _File], path: Path, name: str) -> ComponentClass:
    def sibling(importing: Path, module: str) -> tuple[Path, ast.Module]:
        other = files[importing].imports[module]
        return other, files[other].tree

    return read_class(path, files[path].tree, name, sibling)


def _add(project: Project, path: Path, own: Sequence[Path], files: dict[Path, _File]) -> None:
    """Adds a file and, recursively, the files that it imports."""
    pending = [path]
    while pending:
        current = pending.pop(0)
        if current in files:
            continue
        file = files[current] = _read(current)
        for node in file.relative_imports:
            names = {alias.name for alias in node.names}
            if node.level > 1 or node.module is None or "." in node.module or "*" in names:
                raise _unsupported_import(current, ast.unparse(node))
            directories = [_STANDARD_COMPONENTS]
            if current.parent != _STANDARD_COMPONENTS:
                directories = [current.parent, *own, _STANDARD_COMPONENTS]
            sibling = _find(project, node.module, directories, importing=current)
            file.imports[node.module] = sibling
            pending.append(sibling)


def _find(
    project: Project, module: str, directories: Sequence[Path], importing: Path | None = None
) -> Path:
    """The first file for a module name, other than the importing one."""
    for directory in directories:
        path = directory / f"{module}.py"
        if path != importing and path.is_file():
            return path
    raise ConverterError(
        f"{importing or repr(project.model_type)} uses the component '{module}', which is neither "
        "one of the standard components nor in "
        f"{', '.join(map(str, project.component_paths)) or 'a plugin'}."
    )


def _read(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
        return _File(text, *_parsed(text))
    except (OSError, SyntaxError, ValueError) as error:
        raise ConverterError(f"The component {path} cannot be read: {error}.") from error


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[ast.Module, tuple[ast.ImportFrom, ...]]:
    """The tree of a file and its relative imports; most models share most of their files."""
    tree = ast.parse(text)
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return tree, tuple(node for node in imports if node.level)


def _check_defines(file: _File, path: Path, name: str) -> None:
    if name not in _definitions(file):
        raise ConverterError(f"The component {path} does not define '{name}'.")


def _definitions(file: _File) -> list[str]:
    return [
        node.name for node in file.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]


def _something_in(path: Path, file: _File) -> str:
    """A name that can be imported from a file."""
    definitions = [name for name in _definitions(file) if not name.startswith("__")]
    if not definitions:
        raise ConverterError(f"The component {path} must define a class or a function.")
    return definitions[0]


def _module_names(files: Iterable[Path], taken: Iterable[str]) -> dict[Path, str]:
    """A name for each file, its own if that is free; core's files come first."""
    names: dict[Path, str] = {}
    used = {name.casefold() for name in taken}
    for path in sorted(files, key=lambda path: path.parent != _STANDARD_COMPONENTS):
        name, number = path.stem, 2
        while name.casefold() in used:
            name, number = f"{path.stem}_{number}", number + 1
        used.add(name.casefold())
        names[path] = name
    return names


def _renamed(path: Path, file: _File, modules: Mapping[Path, str]) -> str:
    """A file's text with the imports of its siblings renamed.

    Nothing else in it may look like such an import to transformers, which would search for a file
    of that name.
    """
    replaced: set[str] = set()

    def rename(match: re.Match[str]) -> str:
        start, module, end = match.groups()
        if module not in file.imports:
            raise _unsupported_import(path, match[0].strip())
        replaced.add(module)
        return f"{start}.{modules[file.imports[module]]}{end}"

    text = RELATIVE_IMPORT.sub(rename, file.text)
    seen = Counter(match[0].strip() for match in _SEEN_BY_TRANSFORMERS.finditer(file.text))
    seen.subtract(match[0].strip() for match in RELATIVE_IMPORT.finditer(file.text))
    for statement in +seen:
        raise _unsupported_import(path, statement)
    if replaced != set(file.imports):
        (missed, *_) = sorted(set(file.imports) - replaced)
        raise _unsupported_import(path, f".{missed}")
    return text


def _unsupported_import(path: Path, what: str) -> ConverterError:
    return ConverterError(
        f"The component {path} contains '{what}', which transformers does not support when it "
        "loads a model. Write imports of other components as 'from .module import Name', each on "
        "its own line, and nothing else in this form."
    )
