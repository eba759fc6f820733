"""The model code in a directory, which is read as text and run only if that is safe or requested.

It is not trusted until it is known to be harmless: byte for byte what the generator writes for some
values of the hyper-parameters. These values are the only parts of the generated code that depend
on a config, and they are literals. A hash recorded in the directory proves nothing, since whoever
edits the code can change the hash.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import DynamicModelClasses, import_modules
from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ForgatherConvertError, SourceError, cause_of
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import ROPE_FIELDS
from forgather_convert.weights.linked_files import LINKS_FILE

_REFERENCE = re.compile(r"([A-Za-z_]\w*)\.([A-Za-z_]\w*)", re.ASCII)
#: The suffix of generated file names: a hash of the content of all files.
_SUFFIX = re.compile(r"_[0-9a-f]{8}\Z", re.ASCII)
#: The maximum size of a code file; larger files are not read.
_MAX_BYTES = 1 << 20
_MAX_FILES = 256


@dataclass(frozen=True)
class StoredCode:
    """The Python files of a directory's model.

    Attributes:
        files: The text of each file that the model imports, by its name.
        config_module: The module, without its suffix, that defines the config class.
        config_class: The name of the config class.
        model_module: The module, without its suffix, that defines the model.
        model_class: The name of the causal language model.
        config_defaults: The literal defaults of the config class, in the order of its
            constructor's arguments.
    """

    files: Mapping[str, str]
    config_module: str
    config_class: str
    model_module: str
    model_class: str
    config_defaults: Mapping[str, Any]


def read_stored_code(directory: Path, config: Mapping[str, Any]) -> StoredCode | None:
    """Reads the code that a config names in its ``auto_map``, and the files that it imports.

    Returns:
        ``None`` if the config names none, or the directory does not contain it.
    """
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, Mapping):
        return None
    config_reference = _reference(auto_map.get("AutoConfig"))
    model_reference = _reference(auto_map.get("AutoModelForCausalLM")) or _reference(
        auto_map.get("AutoModel")
    )
    if config_reference is None or model_reference is None:
        return None
    files: dict[str, str] = {}
    pending = [config_reference[0], model_reference[0]]
    while pending:
        module = pending.pop()
        name = f"{module}.py"
        if name in files:
            continue
        text = _read(directory / name)
        if text is None or len(files) == _MAX_FILES:
            return None
        files[name] = text
        pending += _siblings(text)
    return StoredCode(
        files=files,
        config_module=config_reference[0],
        config_class=config_reference[1],
        model_module=model_reference[0],
        model_class=model_reference[1],
        config_defaults=_literal_defaults(files[f"{config_reference[0]}.py"], config_reference[1]),
    )


def complete_with_stored_defaults(config: SourceConfig, stored: StoredCode | None) -> SourceConfig:
    """A config completed with the defaults of its own code."""
    if stored is None:
        return config
    absent = {name: value for name, value in stored.config_defaults.items() if name not in config}
    return config.updated(absent)


def differs_from_generated(stored: StoredCode, project: Project) -> tuple[str, ...]:
    """The names of files that differ from what the generator writes.

    Only these differences are ignored: the config class's default values, the capabilities, which
    depend on the version of transformers, and the resulting hash in the files' names.

    Returns:
        Empty if the code is the generator's and may run.
    """
    values = {
        name: value for name, value in stored.config_defaults.items() if name not in ROPE_FIELDS
    }
    try:
        capabilities = _capabilities(stored)
        given = replace(project, config=values, capabilities=capabilities)
        generated = generate_code(given, has_links=_has_links(stored))
    except ForgatherConvertError:
        return tuple(stored.files)
    ours = _without_suffix(generated.files, generated.model_module)
    theirs = _without_suffix(stored.files, stored.model_module)
    classes = (stored.config_class, stored.model_class)
    if classes != ("DynamicCausalLMConfig", "DynamicCausalLM") or len(theirs) < len(stored.files):
        return tuple(stored.files)
    names = dict(zip(theirs, stored.files, strict=True))
    differing = [names[name] for name in theirs if theirs[name] != ours.get(name)]
    return tuple(differing) + tuple(name for name in ours if name not in theirs)


def _has_links(stored: StoredCode) -> bool:
    """Whether the model can be loaded from linked weights."""
    return f'"{LINKS_FILE}"' in stored.files.get(f"{stored.model_module}.py", "")


def load_stored_code(stored: StoredCode) -> DynamicModelClasses:
    """Runs the code by importing it as a separate package.

    Only for code that is known to be the generator's, or that the user trusts.

    Raises:
        SourceError: It fails, or does not define its classes.
    """
    try:
        modules = import_modules(stored.files, (stored.config_module, stored.model_module))
        return DynamicModelClasses(
            getattr(modules[stored.config_module], stored.config_class),
            getattr(modules[stored.model_module], stored.model_class),
        )
    # Foreign code may raise anything.
    except (Exception, SystemExit) as error:
        raise SourceError(
            f"The model code {stored.model_module}.py cannot be imported: "
            f"{cause_of(error)}. Fix it, or leave out --trust-remote-code to "
            "compare with the family's standard code."
        ) from error


def _reference(value: Any) -> tuple[str, str] | None:
    """The module and the class of an ``auto_map`` entry for files in the same directory."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else (match[1], match[2])


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    # Source that is nested too deeply raises one of the latter two.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _capabilities(stored: StoredCode) -> Capabilities:
    """The capabilities that the model's classes declare."""
    names = set(Capabilities().attributes())
    return Capabilities.from_attributes(
        {
            member.targets[0].id: _literal(member.value)
            for node in _tree(stored.files[f"{stored.model_module}.py"]).body
            if isinstance(node, ast.ClassDef) and node.name == "DynamicPreTrainedModel"
            for member in node.body
            if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name)
            if member.targets[0].id in names
        }
    )


@functools.lru_cache(maxsize=256)
def _siblings(text: str) -> tuple[str, ...]:
    """The modules that a module imports from its directory: ``from .sibling import Name``."""
    return tuple(
        node.module
        for node in ast.walk(_tree(text))
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is not None
        if node.module.isidentifier()
    )


def _literal_defaults(text: str, class_name: str) -> dict[str, Any]:
    for node in _tree(text).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return dict(_defaults(member.args))
    return {}


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, Any]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    start = len(positional) - len(arguments.defaults)
    pairs = [
        *zip(positional[start:], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        if default is None:
            continue
        value = _literal(default)
        if _is_json(value):
            yield argument.arg, value


def _literal(node: ast.expr) -> Any:
    """The value of a literal; for anything else ``Ellipsis``, which no config contains."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ...


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    return value is None or isinstance(value, bool | int | float | str)


def _without_suffix(files: Mapping[str, str], model_module: str) -> dict[str, str]:
    """The files without the hash at the end of their names, also in imports."""
    match = _SUFFIX.search(model_module)
    if match is None:
        return dict(files)
    suffix = match[0]
    pattern = re.compile(rf"^( *from \.\w+?){suffix}( import )", re.MULTILINE)
    return {
        re.sub(rf"{suffix}\.py\Z", ".py", name): pattern.sub(r"\g<1>\g<2>", text)
        for name, text in files.items()
    }
