"""Turns a project into the Python files of a model directory."""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2

from forgather_convert.dynamic_model.literals import annotation, literal
from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError

_HERE = Path(__file__).parent
_STANDARD_COMPONENTS = _HERE / "components"

#: Hyper-parameters that transformers' base config stores itself.
_BASE_CONFIG_FIELDS = ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")

#: Config fields that are not arguments of the generated config class.
_NOT_HYPERPARAMETERS = ("rope_theta", "rope_scaling", "rope_parameters")

_RELATIVE_IMPORT = re.compile(r"^( *from )\.(\w+)( import )", re.MULTILINE)


@dataclass(frozen=True)
class GeneratedCode:
    """The Python files of a dynamic model.

    Attributes:
        files: The text of each file, by its name. The files are flat and import each
            other relatively, which is all that transformers' loader follows.
        auto_map: The entry of the same name in ``config.json``.
        config_module: The module, without its suffix, that defines the config class.
        model_module: The module, without its suffix, that defines the models.
    """

    files: Mapping[str, str]
    auto_map: Mapping[str, str]
    config_module: str
    model_module: str


def generate_code(project: Project) -> GeneratedCode:
    """Generates the model, its config class and the components they use.

    The names of all files end in a hash of their content. transformers keeps the
    modules of every loaded model in one name space, where files of the same name
    from two models would replace each other.

    Raises:
        ConverterError: A component does not exist or does not define its class.
    """
    configuration = f"configuration_{project.model_type}"
    modeling = f"modeling_{project.model_type}"
    sources = _component_sources(project)
    sources[configuration] = _render_configuration(project)
    sources[modeling] = _render_model(project, configuration, tuple(sources))

    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\n{sources[name]}\n".encode())
    suffix = "_" + digest.hexdigest()[:8]
    files = {
        f"{name}{suffix}.py": _RELATIVE_IMPORT.sub(rf"\g<1>.\g<2>{suffix}\g<3>", source)
        for name, source in sources.items()
    }
    return GeneratedCode(
        files=MappingProxyType(files),
        auto_map=MappingProxyType(
            {
                "AutoConfig": f"{configuration}{suffix}.DynamicCausalLMConfig",
                "AutoModel": f"{modeling}{suffix}.DynamicCausalModel",
                "AutoModelForCausalLM": f"{modeling}{suffix}.DynamicCausalLM",
            }
        ),
        config_module=configuration + suffix,
        model_module=modeling + suffix,
    )


def _component_sources(project: Project) -> dict[str, str]:
    """The components that the project names, and what they import from their siblings."""
    sources: dict[str, str] = {}
    pending = dict(project.resolved_components().values())
    pending["attention_masks"] = "create_attention_masks"
    while pending:
        module, name = pending.popitem()
        if module not in sources:
            sources[module] = _read_component(project, module)
        tree = ast.parse(sources[module])
        defined = {node.name for node in tree.body if isinstance(node, _DEFINITIONS)}
        if name not in defined:
            raise ConverterError(
                f"The component '{module}' of '{project.model_type}' does not define '{name}'."
            )
        for node in tree.body:
            match node:
                case ast.ImportFrom(module=str(sibling), level=1) if sibling not in sources:
                    pending[sibling] = node.names[0].name
    return sources


_DEFINITIONS = (ast.ClassDef, ast.FunctionDef)


def _read_component(project: Project, module: str) -> str:
    for directory in (*project.component_paths, _STANDARD_COMPONENTS):
        path = Path(directory) / f"{module}.py"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ConverterError(
        f"'{project.model_type}' uses the component '{module}', which is neither one of the "
        f"standard components nor in {', '.join(map(str, project.component_paths)) or 'a plugin'}."
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python source, not HTML
    )


def _render_configuration(project: Project) -> str:
    hyperparameters = {
        name: _parameter(name, value)
        for name, value in project.config.items()
        if name not in _NOT_HYPERPARAMETERS
    }
    return (
        _environment()
        .get_template("configuration.py.j2")
        .render(
            family=project.model_type,
            model_type=project.dynamic_model_type,
            hyperparameters=hyperparameters,
            base_fields=_BASE_CONFIG_FIELDS,
        )
    )


def _parameter(name: str, value: Any) -> str:
    """A parameter of the config class's constructor, with its default."""
    start = f"{name}: {annotation(value)} = "
    return start + literal(value, indent=8, prefix=8 + len(start))


def _render_model(project: Project, configuration: str, modules: Iterable[str]) -> str:
    components = project.resolved_components()
    imports: dict[str, set[str]] = {}
    for module, name in (
        (configuration, "DynamicCausalLMConfig"),
        ("attention_masks", "create_attention_masks"),
        *components.values(),
    ):
        imports.setdefault(module, set()).add(name)
    indirect = sorted(set(modules) - set(imports))
    return (
        _environment()
        .get_template("modeling.py.j2")
        .render(
            family=project.model_type,
            imports=[
                (module, ", ".join(sorted(names))) for module, names in sorted(imports.items())
            ],
            indirect=indirect,
            **{role: name for role, (_, name) in components.items()},
        )
    )
