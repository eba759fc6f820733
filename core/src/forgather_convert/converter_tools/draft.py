"""Writes a proposal as the source text of a converter."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.mapping_proposal import (
    Proposal,
    Skeleton,
    StackedExperts,
    propose,
)
from forgather_convert.converter_tools.rendering import render
from forgather_convert.converter_tools.trial import first_alike
from forgather_convert.dynamic_model.literals import literal
from forgather_convert.dynamic_model.project import STANDARD_COMPONENTS
from forgather_convert.families.hyperparameters import STANDARD, WINDOWS
from forgather_convert.tensors.family_mapping import own_weights
from forgather_convert.tensors.weight_mapping import HF_LAYERS

#: The indentation of a class's attributes.
_INDENT = 4
_IS_BIDIRECTIONAL = "A Forgather model attends to the past only."
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
    """

    skeleton: Skeleton
    class_name: str
    norms: list[str]
    steps: tuple[str, ...]


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
    files = {
        f"{'_'.join(words).lower()}_{skeleton.role}": ComponentFile(
            skeleton,
            f"{stem}{skeleton.role.capitalize()}",
            norms or ["norm1", "norm2"],
            survey.steps,
        )
        for skeleton in proposal.skeletons
    }
    own = {file.skeleton.role: f"{name}:{file.class_name}" for name, file in files.items()}
    drafts = [
        _draft(survey, proposal, {**components, **own}, files) for components in proposal.candidates
    ]
    if files:
        return drafts[0]
    sources = (
        render(
            "converter.py.j2",
            model_type=survey.model_type,
            hf_class=survey.hf_class,
            converter_class="Draft",
            draft=draft,
            imports=draft.imports,
        )
        for draft in drafts
    )
    found = first_alike(survey, sources)
    if found is not None:
        return replace(drafts[found], is_alike=True)
    unequal = (
        "With none of core's components that have these weights, a tiny model computes and trains "
        "exactly as in transformers: write the one that differs."
    )
    return replace(drafts[0], open_points=(*drafts[0].open_points, unequal))


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
    components: Mapping[str, Any],
    files: Mapping[str, ComponentFile],
) -> Draft:
    hf_layers = survey.layer.removesuffix(".{layer}.") or HF_LAYERS
    weights = own_weights(proposal.mapping, hf_layers)
    hyperparameters, names = _hyperparameters(proposal.hyperparameters)
    own: tuple[str, ...] = ()
    if proposal.derived:
        fixed = (f'"{name}": {literal(value, 12, 0)}' for name, value in proposal.fixed.items())
        derived = (
            f'"{name}": {source}' if name else source for name, source in proposal.derived.items()
        )
        own = (*derived, *fixed)
        names = (*names, "SourceConfig", *re.findall(r"sparse_layers_\w+", " ".join(own)))
    values: dict[str, Mapping[str, Any]] = {
        "field_names": proposal.field_names,
        "fixed_hyperparameters": {} if own else proposal.fixed,
        "unsupported": dict.fromkeys(survey.bidirectional_options, _IS_BIDIRECTIONAL),
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
