"""Proposes a converter for a family, based on names, shapes and the order of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.converter_tools.component_choices import (
    QKVO,
    ROTATED,
    Choice,
    ComponentChoices,
)
from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.standard_fields import (
    AMBIGUOUS,
    FIELD_NAMES,
    IMPLIED,
    NEEDED,
    field_of,
)
from forgather_convert.converter_tools.weight_places import StackedExperts, WeightPlaces
from forgather_convert.dynamic_model.assembly import NORM_EPSILONS
from forgather_convert.families.hyperparameters import STANDARD


@dataclass(frozen=True)
class Proposal:
    """A proposed converter.

    Attributes:
        mapping: The weight mapping, Hugging Face to Forgather, without the stacked experts.
        stacked: The experts that are separate tensors in a checkpoint, if there are any.
        choices: The standard components that may be those of the family.
        hyperparameters: The config fields that the model needs.
        field_names: The Forgather names of fields that have another name there.
        fixed: Additional fields of the Forgather config.
        derived: Those that depend on other fields, as Python expressions of ``config``; an
            expression that begins with ``**`` gives several.
        open_points: Open questions, in sentences.
    """

    mapping: Mapping[str, str]
    stacked: StackedExperts | None
    choices: tuple[Choice, ...]
    hyperparameters: tuple[str, ...]
    field_names: Mapping[str, str]
    fixed: Mapping[str, Any]
    derived: Mapping[str, str]
    open_points: tuple[str, ...]


def propose(survey: FamilySurvey) -> Proposal:
    """Matches names and shapes with those of the standard components."""
    return _Proposer(survey).propose()


class _Proposer:
    """Matches the config's fields with those that the standard components read."""

    def __init__(self, survey: FamilySurvey) -> None:
        self.survey = survey
        self.places = WeightPlaces(survey)
        self.blocks = self.places.blocks
        self.fixed: dict[str, Any] = {}
        self.derived: dict[str, str] = {}
        self.open_points = [
            f"`{weight.name}` {list(weight.shape)} has no place in the mapping."
            for weight in self.places.without_place
        ]

    def propose(self) -> Proposal:
        field_names = self._field_names()
        hyperparameters = (*self.survey.fields, *self.survey.rope_options)
        known = {field_names.get(name, name) for name in hyperparameters}
        self._complete_fields(known)
        chosen = ComponentChoices(self.places, field_names)
        self._biases(known)
        return Proposal(
            mapping=self.places.mapping,
            stacked=self.places.stacked(),
            choices=chosen.choices,
            hyperparameters=hyperparameters,
            field_names=field_names,
            fixed={**chosen.fixed, **self.fixed},
            derived={**chosen.derived, **self.derived},
            open_points=(*self.open_points, *chosen.open_points),
        )

    def _field_names(self) -> dict[str, str]:
        survey = self.survey
        names = {**FIELD_NAMES}
        if not survey.fields.get("embedding_dropout") and "hidden_dropout" not in survey.fields:
            names |= AMBIGUOUS
        for own, switched in survey.bias_switches.items():
            # A switch for biases that the standard one of another name turns on.
            standard = self._standard_switch(switched)
            if standard and own != standard and standard not in survey.fields:
                names[own] = standard
        components = {*STANDARD, *names.values()}
        return {
            name: standard
            for name, value in survey.fields.items()
            for standard in (survey.standard_names.get(name), names.get(name))
            if standard in components and standard not in survey.fields and name != ROTATED
            if value is not None or standard != "intermediate_size"
        }

    def _standard_switch(self, switched: frozenset[str]) -> str:
        attention, feedforward = self.blocks["attention"].biased, self.blocks["feedforward"].biased
        query = {name for part, name in attention.items() if part in (*QKVO[:3], "qkv_linear")}
        output = {attention["output_linear"]} if "output_linear" in attention else set()
        others = {*feedforward.values()}
        for name, biases in (
            ("attention_bias", (query, query | output)),
            ("attention_output_bias", (output,)),
            ("mlp_bias", (others,)),
        ):
            if switched and any(switched == each for each in biases):
                return name
        return ""

    def _complete_fields(self, known: set[str]) -> None:
        for name in NEEDED:
            if name in known:
                continue
            if name in IMPLIED:
                self.derived[name] = IMPLIED[name]
            elif name == "intermediate_size" and self._inner_size():
                self.derived[name] = self._inner_size()
            else:
                self.open_points.append(
                    f"The config has no `{name}`: give it in `fixed_hyperparameters`, or override "
                    "`own_hyperparameters`."
                )
        if not known & set(NORM_EPSILONS) and self.survey.norm_eps is not None:
            self.fixed[NORM_EPSILONS[0]] = self.survey.norm_eps

    def _inner_size(self) -> str:
        """The size of the feed-forward block as an expression; empty if it is none of the usual."""
        hidden = field_of(self.survey, "hidden_size")
        rows = {
            each.shape[0] for each in self.survey.weights if each.name in self.places.up_projections
        }
        if rows == {4 * hidden}:
            return '4 * config.get("hidden_size", 0)'
        return ""

    def _biases(self, known: set[str]) -> None:
        """What turns on the biases of the standard components."""
        attention, feedforward = self.blocks["attention"].biased, self.blocks["feedforward"].biased
        query = next(
            (attention[part] for part in (*QKVO[:3], "qkv_linear") if part in attention), ""
        )
        places = {
            "attention_bias": query,
            "attention_output_bias": attention.get("output_linear", ""),
            "mlp_bias": next(iter(feedforward.values()), ""),
        }
        switches = {
            name: next(
                (own for own, biases in self.survey.bias_switches.items() if weight in biases), None
            )
            for name, weight in places.items()
        }
        for name, weight in places.items():
            if name in known:
                continue
            is_output = name == "attention_output_bias"
            if is_output and (bool(weight), switches[name]) == (
                bool(query),
                switches["attention_bias"],
            ):
                # By default, it is that of the others.
                continue
            own = switches[name]
            if own is not None:
                self.derived[name] = f'bool(config.get("{own}"))'
            elif weight or is_output:
                self.fixed[name] = bool(weight)
        if "lm_head.bias" in self.places.mapping.values() and "lm_head_bias" not in known:
            self.fixed["lm_head_bias"] = True
