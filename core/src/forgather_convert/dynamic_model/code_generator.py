"""Turns a project into the Python files of a model directory."""

import ast
import builtins
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2

from forgather_convert.dynamic_model.assembly import assemble, tensor_parallel_plan
from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.component_files import (
    MIXER,
    RELATIVE_IMPORT,
    ROUTER_LOGITS_FIELD,
    ComponentFiles,
    Symbol,
    collect_components,
)
from forgather_convert.dynamic_model.literals import annotation, literal
from forgather_convert.dynamic_model.project import LAYER_TYPE_FIELDS, Project
from forgather_convert.errors import ConverterError
from forgather_convert.source.config_file import BASE_CONFIG_FIELDS
from forgather_convert.source.rope import LOCAL_BASE, ROPE_FIELDS
from forgather_convert.weights.linked_files import LINKS_FILE

_HERE = Path(__file__).parent

#: The decorator that lets transformers choose how experts are computed.
_EXPERTS = "use_experts_implementation"

#: Config fields that are not arguments of the generated config class.
_NOT_HYPERPARAMETERS = (*ROPE_FIELDS, LOCAL_BASE)


@dataclass(frozen=True)
class GeneratedCode:
    """The Python files of a dynamic model.

    Attributes:
        files: The text of each file, by its name. The files are in one directory and import each
            other relatively; transformers' loader supports nothing else.
        auto_map: The entry of the same name in ``config.json``.
        model_module: The module, without its suffix, that defines the models and their config.
    """

    files: Mapping[str, str]
    auto_map: Mapping[str, str]
    model_module: str


def generate_code(project: Project, has_links: bool = False) -> GeneratedCode:
    """Generates the model, its config class and the components they use.

    Args:
        project: The model.
        has_links: Whether it can be loaded from linked weights of its original.

    All file names end in a hash of the content. transformers keeps the modules of all loaded
    models in one namespace, where files of the same name from two models would replace each other.

    Raises:
        ConverterError: A component does not exist or does not define its class, or a
            hyper-parameter has a name or a value that a config class cannot have.
    """
    modeling = f"modeling_{project.module_name}"
    components = collect_components(project, taken=(modeling,))
    sources = {**components.sources, modeling: _render_model(project, components, has_links)}
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\n{sources[name]}\n".encode())
    suffix = "_" + digest.hexdigest()[:8]
    files = {
        f"{name}{suffix}.py": RELATIVE_IMPORT.sub(rf"\g<1>.\g<2>{suffix}\g<3>", source)
        for name, source in sources.items()
    }
    return GeneratedCode(
        files=MappingProxyType(files),
        auto_map=MappingProxyType(
            {
                # In the same file as the models, so that importing it registers them.
                "AutoConfig": f"{modeling}{suffix}.DynamicCausalLMConfig",
                "AutoModel": f"{modeling}{suffix}.DynamicCausalModel",
                "AutoModelForCausalLM": f"{modeling}{suffix}.DynamicCausalLM",
                "AutoModelForSequenceClassification": (
                    f"{modeling}{suffix}.DynamicForSequenceClassification"
                ),
                "AutoModelForTokenClassification": (
                    f"{modeling}{suffix}.DynamicForTokenClassification"
                ),
            }
        ),
        model_module=modeling + suffix,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    """The environment of the templates, each of which is compiled once."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python source, not HTML
    )


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _render_config_class(project: Project, components: ComponentFiles) -> str:
    def render(parameters: Mapping[str, str]) -> str:
        return _render(
            "config_class.py.j2",
            model_type=project.dynamic_model_type,
            hyperparameters=parameters,
            base_fields=BASE_CONFIG_FIELDS,
            tp_plan=tensor_parallel_plan(components.components).config,
            has_rope=project.has_rope,
        )

    parameters = {
        name: _parameter(name, value)
        for name, value in project.config.items()
        if name not in _NOT_HYPERPARAMETERS
    }
    for name in sorted(parameters.keys() & _names_in(render({}))):
        raise ConverterError(
            f"A hyper-parameter of '{project.model_type}' cannot be called '{name}': the "
            "generated config class uses that name. Choose another."
        )
    return render(parameters)


def _parameter(name: str, value: Any) -> str:
    """A parameter of the config class's constructor, with its default."""
    start = f"{name}: {annotation(value)} = "
    try:
        return start + literal(value, indent=8, prefix=8 + len(start))
    except ValueError as error:
        raise ConverterError(
            f"The hyper-parameter '{name}' cannot be written: {error}. Give a value that a "
            "config.json can hold."
        ) from error


def _render_model(project: Project, files: ComponentFiles, has_links: bool) -> str:
    config_class = _render_config_class(project, files)
    fixed = {symbol: symbol.name for symbol in files.functions}
    symbols = [
        component.symbol for by_kind in files.components.values() for component in by_kind.values()
    ]

    def render(names: Mapping[Symbol, str]) -> str:
        return _render(
            "modeling.py.j2",
            family=project.model_type,
            config_class=config_class,
            imports=_imports({*fixed, *symbols}, names),
            indirect=_imports(files.indirect, names),
            layer_classes=sorted(
                {component.symbol.name for component in files.components["layer"].values()}
            ),
            assembly=assemble(project, files.components, names),
            tp_plan=tensor_parallel_plan(files.components).model,
            kind_fields=LAYER_TYPE_FIELDS,
            capabilities=_capabilities(project.capabilities or Capabilities()),
            keeps_all_logits=(project.capabilities or Capabilities()).keeps_all_logits,
            has_plain_head="head" not in project.components,
            has_embedding_size="embedding_size" in project.config,
            has_head_bias="lm_head_bias" in project.config,
            has_mixers=MIXER in files.components,
            has_per_layer_inputs="hidden_size_per_layer_input" in project.config,
            shares_heads="kv_sharing_modes" in project.config,
            has_router_logits=ROUTER_LOGITS_FIELD in project.config,
            links_file=LINKS_FILE if has_links else "",
            chooses_experts=any(_EXPERTS in text for text in files.sources.values()),
        )

    named = sorted({*symbols, *files.indirect})
    stand_ins = {symbol: f"_component_{index}" for index, symbol in enumerate(named)}
    reserved = _names_in(render({**stand_ins, **fixed})) | set(dir(builtins))
    return render({**_bound_names(named, reserved), **fixed})


def _capabilities(capabilities: Capabilities) -> dict[str, str]:
    """The class attributes for the capabilities, without empty lists."""
    return {
        name: literal(value, indent=4, prefix=4 + len(f"{name} = "))
        for name, value in capabilities.attributes().items()
        if value != ()
    }


@functools.lru_cache(maxsize=64)
def _names_in(source: str) -> frozenset[str]:
    """All names that a module defines or uses, in any scope."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                names.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
    return frozenset(names)


def _bound_names(symbols: Iterable[Symbol], reserved: Iterable[str]) -> dict[Symbol, str]:
    """A name for each symbol in the model's module: its own, unless that is taken."""
    bound: dict[Symbol, str] = {}
    used = set(reserved)
    for symbol in sorted(set(symbols)):
        module = "".join(word.capitalize() for word in symbol.module.split("_"))
        name, number = symbol.name, 1
        while name in used or name.startswith("__"):
            name = f"{module}{symbol.name}" + (str(number) if number > 1 else "")
            number += 1
        used.add(name)
        bound[symbol] = name
    return bound


def _imports(symbols: Iterable[Symbol], bound: Mapping[Symbol, str]) -> list[tuple[str, str]]:
    """Modules and the names imported from them, in the order of a formatter."""
    plain: dict[str, list[str]] = {}
    renamed: dict[str, list[str]] = {}
    for symbol in sorted(symbols):
        name = bound[symbol]
        if name == symbol.name:
            plain.setdefault(symbol.module, []).append(name)
        else:
            renamed.setdefault(symbol.module, []).append(f"{symbol.name} as {name}")
    return [
        (module, names)
        for module in sorted({*plain, *renamed})
        for names in (
            *([", ".join(plain[module])] if module in plain else []),
            *renamed.get(module, []),
        )
    ]
