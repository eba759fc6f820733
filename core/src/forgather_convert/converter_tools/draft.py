"""Writes a proposal as the source text of a converter."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from forgather_convert.converter_tools.component_choices import Alternative, Skeleton
from forgather_convert.converter_tools.family_survey import FamilySurvey, component_class
from forgather_convert.converter_tools.mapping_proposal import Proposal, propose
from forgather_convert.converter_tools.rendering import render
from forgather_convert.converter_tools.trial import find_alike
from forgather_convert.converter_tools.weight_places import StackedExperts
from forgather_convert.dynamic_model.literals import literal
from forgather_convert.dynamic_model.project import STANDARD_COMPONENTS
from forgather_convert.families.hyperparameters import STANDARD, WINDOWS
from forgather_convert.tensors.family_mapping import own_weights
from forgather_convert.tensors.weight_mapping import HF_LAYERS

#: The indentation of a class's attributes.
_INDENT = 4
_COMPUTES_ELSE = "The components of this converter compute as without it."
#: Where a value begins that is never on one line.
_LONG = 100


@dataclass(frozen=True)
class ComponentFile:
    """A component that has to be written.

    Attributes:
        skeleton: What is known about it.
        class_name: The name of its class.
        norms: The arguments for the norms of a layer.
        steps: The order in which the parts of a layer run.
        arguments: The arguments of the constructor of what it is derived from.
    """

    skeleton: Skeleton
    class_name: str
    norms: list[str]
    steps: tuple[str, ...]
    arguments: list[str]


@dataclass(frozen=True)
class Draft:
    """The texts of a converter's attributes, and its further files.

    Attributes:
        attributes: The text of every attribute that the converter sets, by its name.
        imports: The statement that imports the names of this library.
        own: The lines of the dictionary that ``own_hyperparameters`` returns, if it is overridden.
        tiny_configs: The text of the tiny configs.
        component_files: The components that have to be written, by the names of their modules.
        open_points: Open questions, in sentences.
        is_alike: Whether a tiny model computes and trains as in transformers.
    """

    attributes: Mapping[str, str]
    imports: str
    own: tuple[str, ...]
    tiny_configs: str
    component_files: Mapping[str, ComponentFile]
    open_points: tuple[str, ...]
    is_alike: bool = False


def draft_converter(survey: FamilySurvey) -> Draft:
    """Writes the proposal for a family as source text.

    Of several components that may be those of the family, the draft has those with which a tiny
    model computes what transformers computes.
    """
    proposal = propose(survey)
    words = re.findall(r"[A-Za-z0-9]+", survey.model_type)
    stem = "".join(word[0].upper() + word[1:] for word in words)
    norms = sorted(
        {
            name.split(".")[4]
            for name in proposal.mapping.values()
            if re.fullmatch(r"causal_lm\.layer_stack\.layers\.\{layer\}\.norm\d+\.\w+", name)
        }
    )

    def constructor_arguments(component: str) -> list[str]:
        if not component:
            return []
        return [
            argument.name
            for argument in signature(component_class(component)).parameters.values()
            if argument.default is argument.empty
            or (argument.name == "eps" and survey.norm_eps is not None)
        ]

    def draft(
        picked: Iterable[Alternative], skeletons: Iterable[Skeleton] = (), *points: str
    ) -> Draft:
        files = {
            f"{'_'.join(words).lower()}_{skeleton.role}": ComponentFile(
                skeleton,
                stem + "".join(word.capitalize() for word in skeleton.role.split("_")),
                norms or ["norm1", "norm2"],
                survey.steps,
                constructor_arguments(skeleton.base),
            )
            for skeleton in skeletons
        }
        own = {file.skeleton.role: f"{name}:{file.class_name}" for name, file in files.items()}
        return _draft(survey, proposal, [*picked, Alternative(own)], files, points)

    unknown = [choice.skeleton for choice in proposal.choices if not choice.alternatives]
    if unknown:
        return draft(
            (choice.alternatives[0] for choice in proposal.choices if choice.alternatives), unknown
        )
    found = find_alike(
        survey, proposal.choices, lambda picked: _converter_source(survey, draft(picked))
    )
    if found.is_alike:
        survey = _without_options(survey, found.unequal_options)
        return replace(draft(found.picked), is_alike=True)
    skeletons = [] if found.unequal is None else [found.unequal.skeleton]
    return draft(found.picked, skeletons, found.problem)


def _without_options(survey: FamilySurvey, names: Iterable[str]) -> FamilySurvey:
    """The survey with options that the draft's components cannot express as refused ones."""
    refused = {name: _COMPUTES_ELSE for name in names if not survey.fields[name]}
    configs = {**survey.tiny_configs}
    if refused:
        options = configs.pop("options")
        left = {name: value for name, value in options.items() if name not in refused}
        configs |= {} if left == configs["plain"] else {"options": left}
    return replace(survey, tiny_configs=configs, refused={**survey.refused, **refused})


def _converter_source(survey: FamilySurvey, draft: Draft) -> str:
    return render(
        "converter.py.j2",
        model_type=survey.model_type,
        hf_class=survey.hf_class,
        converter_class="Draft",
        draft=draft,
        imports=draft.imports,
    )


def import_statement(names: Iterable[str]) -> str:
    """The statement that imports names of this library, with that of the base class."""
    # As import statements are sorted: constants, classes, functions.
    ordered = sorted(
        {"HFConverter", *names}, key=lambda name: (not name.isupper(), name.islower(), name)
    )
    line = f"from forgather_convert import {', '.join(ordered)}"
    if len(line) <= _LONG:
        return line
    return "from forgather_convert import (\n" + "".join(f"    {each},\n" for each in ordered) + ")"


def _draft(
    survey: FamilySurvey,
    proposal: Proposal,
    picked: Sequence[Alternative],
    files: Mapping[str, ComponentFile],
    points: Iterable[str],
) -> Draft:
    components = {role: each for one in picked for role, each in one.components.items()}
    derived = {**proposal.derived}
    for alternative in picked:
        derived.update(alternative.fields)
    hf_layers = survey.layer.removesuffix(".{layer}.") or HF_LAYERS
    weights = own_weights(proposal.mapping, hf_layers)
    hyperparameters, names = _hyperparameters(proposal.hyperparameters)
    own: tuple[str, ...] = ()
    if derived:
        fixed = (f'"{name}": {literal(value, 12, 0)}' for name, value in proposal.fixed.items())
        own = (
            *(f'"{name}": {source}' if name else source for name, source in derived.items()),
            *fixed,
        )
        names = (*names, "SourceConfig", *re.findall(r"sparse_layers_\w+", " ".join(own)))
    values: dict[str, Mapping[str, Any]] = {
        "field_names": proposal.field_names,
        "fixed_hyperparameters": {} if own else proposal.fixed,
        "unsupported": survey.refused,
        "layer_weights": weights.layer_weights,
        "layer_tensors": weights.layer_tensors,
        "model_weights": weights.model_weights,
        "components": {
            role: component
            for role, component in components.items()
            if component != STANDARD_COMPONENTS[role]
        },
    }
    attributes = {"hyperparameters": hyperparameters}
    if not survey.has_rope:
        attributes["has_rope"] = "False"
    if hf_layers != HF_LAYERS:
        attributes["hf_layers"] = literal(hf_layers, _INDENT, 0)
    for name, value in values.items():
        if name == "layer_tensors" and proposal.stacked is not None:
            attributes[name] = _with_experts(dict(value), proposal.stacked)
            names = (*names, "stacked_experts")
        elif value:
            prefix = _INDENT + len(f"{name} = ")
            attributes[name] = literal(dict(value), indent=_INDENT, prefix=prefix)
    return Draft(
        attributes=attributes,
        imports=import_statement(names),
        own=own,
        tiny_configs=literal(dict(survey.tiny_configs), indent=0, prefix=_LONG),
        component_files=files,
        open_points=(
            *proposal.open_points,
            *points,
            *(f"`{name}` is refused: {reason}" for name, reason in survey.refused.items()),
            *(f"`{name}` has no place in the mapping." for name in weights.others),
        ),
    )


def _with_experts(tensors: Mapping[str, str], experts: StackedExperts) -> str:
    """The source of a mapping with stacked experts."""
    names = {"gate": experts.gate, "up": experts.up, "down": experts.down}
    others = [f'{key}="{name}"' for key, name in names.items() if name != f"{key}_proj"]
    call = f"stacked_experts({', '.join([json.dumps(experts.name), *others])})"
    if not tensors:
        return call
    inner = " " * (_INDENT + 4)
    lines = [*(f"{json.dumps(hf)}: {json.dumps(fg)}" for hf, fg in tensors.items()), f"**{call}"]
    return "{\n" + "".join(f"{inner}{line},\n" for line in lines) + " " * _INDENT + "}"


def _hyperparameters(names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The source of a tuple, and the names that it takes from this library."""
    missing = [name for name in STANDARD if name not in names]
    if len(missing) > len(STANDARD) // 2:
        return _tuple(names), ()
    imports, terms, known = ["STANDARD"], ["STANDARD"], {*STANDARD}
    if missing:
        terms = [f"without(STANDARD, {', '.join(map(json.dumps, missing))})"]
    if {*WINDOWS} <= {*names}:
        imports.append("WINDOWS")
        terms.append("WINDOWS")
        known |= {*WINDOWS}
    others = tuple(name for name in names if name not in known)
    if others:
        terms.append(_tuple(others))
    if missing:
        imports.append("without")
    return " + ".join(terms), tuple(imports)


def _tuple(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"({json.dumps(names[0])},)"
    inner = " " * (_INDENT + 4)
    lines = "".join(f"{inner}{json.dumps(name)},\n" for name in names)
    return f"(\n{lines}{' ' * _INDENT})"
