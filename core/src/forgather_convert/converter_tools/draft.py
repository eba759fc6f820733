"""Writes a proposal as the source text of a converter."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.mapping_proposal import Skeleton, propose
from forgather_convert.dynamic_model.literals import literal
from forgather_convert.families.hyperparameters import STANDARD, WINDOWS
from forgather_convert.tensors.family_mapping import own_weights
from forgather_convert.tensors.weight_mapping import HF_LAYERS

#: The indentation of a class's attributes.
_INDENT = 4
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
        imports: The names that the texts take from this library.
        tiny_configs: The text of the tiny configs.
        component_files: The components that have to be written, by the names of their modules.
        open_points: Open questions, in sentences.
    """

    attributes: Mapping[str, str]
    imports: tuple[str, ...]
    tiny_configs: str
    component_files: Mapping[str, ComponentFile]
    open_points: tuple[str, ...]


def draft_converter(survey: FamilySurvey) -> Draft:
    """Writes the proposal for a family as source text."""
    proposal = propose(survey)
    words = re.findall(r"[A-Za-z0-9]+", survey.model_type)
    stem = "".join(word[0].upper() + word[1:] for word in words)
    norms = sorted({name.split(".")[4] for name in proposal.mapping.values() if ".norm" in name})
    files = {
        f"{'_'.join(words).lower()}_{skeleton.role}": ComponentFile(
            skeleton, f"{stem}{skeleton.role.capitalize()}", norms, survey.steps
        )
        for skeleton in proposal.skeletons
    }
    components = {file.skeleton.role: f"{name}:{file.class_name}" for name, file in files.items()}
    hf_layers = survey.layer.removesuffix(".{layer}.") or HF_LAYERS
    weights = own_weights(proposal.mapping, hf_layers)
    hyperparameters, imports = _hyperparameters(proposal.hyperparameters)
    values: dict[str, Mapping[str, Any]] = {
        "field_names": proposal.field_names,
        "fixed_hyperparameters": proposal.fixed,
        "layer_weights": weights.layer_weights,
        "layer_tensors": weights.layer_tensors,
        "model_weights": weights.model_weights,
        "components": {**proposal.components, **components},
    }
    attributes = {"hyperparameters": hyperparameters}
    if hf_layers != HF_LAYERS:
        attributes["hf_layers"] = literal(hf_layers, _INDENT, 0)
    for name, value in values.items():
        if value:
            prefix = _INDENT + len(f"{name} = ")
            attributes[name] = literal(dict(value), indent=_INDENT, prefix=prefix)
    return Draft(
        attributes=attributes,
        imports=imports,
        tiny_configs=literal(dict(survey.tiny_configs), indent=0, prefix=_LONG),
        component_files=files,
        open_points=(
            *proposal.open_points,
            *(f"`{name}` has no place in the mapping." for name in weights.others),
        ),
    )


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
