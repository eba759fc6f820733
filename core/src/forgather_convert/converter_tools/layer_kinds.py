"""Finds the rule by which layers of a family have experts."""

from collections.abc import Callable, Mapping
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.families.mixtures_of_experts import (
    KINDS_FIELD,
    sparse_layers_after,
    sparse_layers_by_step,
)
from forgather_convert.source.config_file import SourceConfig

#: Names of the field with the number of dense layers before the others.
_NUM_DENSE = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")


def expert_layers(survey: FamilySurvey) -> str | None:
    """The source of the own hyper-parameter with the kind of every layer.

    Returns:
        An expression that unpacks it; empty if the config has the field itself, and ``None`` if no
        known rule gives the layers of all tiny models.
    """
    if KINDS_FIELD in survey.fields:
        return ""
    rules: dict[str, Callable[[SourceConfig], Mapping[str, Any]]] = {}
    if "decoder_sparse_step" in survey.fields:
        rules["**sparse_layers_by_step(config)"] = sparse_layers_by_step
    for name in _NUM_DENSE:
        if name in survey.fields:
            rules[f'**sparse_layers_after(config, "{name}")'] = _after(name)
    return next((source for source, rule in rules.items() if _holds(survey, rule)), None)


def _after(name: str) -> Callable[[SourceConfig], Mapping[str, Any]]:
    return lambda config: sparse_layers_after(config, name)


def _holds(survey: FamilySurvey, rule: Callable[[SourceConfig], Mapping[str, Any]]) -> bool:
    for name, fields in survey.tiny_configs.items():
        config = SourceConfig({**survey.fields, **fields}, "a tiny config")
        actual = ["sparse" if each else "dense" for each in survey.sparse_layers[name]]
        if rule(config)[KINDS_FIELD] != actual:
            return False
    return True
