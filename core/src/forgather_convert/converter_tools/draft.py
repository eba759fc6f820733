"""Writes a proposal as the source text of a converter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.mapping_proposal import Skeleton, propose
from forgather_convert.dynamic_model.literals import literal

_ATTRIBUTE_INDENT = 4


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
        mapping: The text of ``weight_mapping``; likewise for the next four.
        hyperparameters: See ``mapping``.
        field_names: See ``mapping``; empty if it is not needed, like the next two.
        fixed: See ``mapping``.
        components: See ``mapping``.
        tiny_configs: The text of the tiny configs.
        component_files: The components that have to be written, by the names of their modules.
        open_points: Open questions, in sentences.
    """

    mapping: str
    hyperparameters: str
    field_names: str
    fixed: str
    components: str
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
    own = {file.skeleton.role: f"{module}:{file.class_name}" for module, file in files.items()}
    return Draft(
        mapping=_text("weight_mapping: ClassVar[WeightMappingDict]", dict(proposal.mapping)),
        hyperparameters=_tuple(proposal.hyperparameters),
        field_names=_text("field_names: ClassVar[Mapping[str, str]]", dict(proposal.field_names)),
        fixed=_text("fixed_hyperparameters: ClassVar[Mapping[str, Any]]", dict(proposal.fixed)),
        components=_text("components: ClassVar[Mapping[str, str]]", {**proposal.components, **own}),
        tiny_configs=literal(dict(survey.tiny_configs), indent=0, prefix=53),
        component_files=files,
        open_points=proposal.open_points,
    )


def _text(target: str, value: Mapping[str, Any]) -> str:
    """The value's source after ``target =``."""
    if not value:
        return ""
    prefix = _ATTRIBUTE_INDENT + len(f"{target} = ")
    return literal(dict(value), indent=_ATTRIBUTE_INDENT, prefix=prefix)


def _tuple(names: tuple[str, ...]) -> str:
    lines = "".join(f'        "{name}",\n' for name in names)
    return f"(\n{lines}    )"
