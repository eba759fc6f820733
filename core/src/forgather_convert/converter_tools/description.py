"""Describes a converter, as data."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from forgather_convert.converter_tools.hook_signatures import overridden_hooks
from forgather_convert.converter_tools.tiny_models import project_of, tiny_cases
from forgather_convert.dynamic_model.project import STANDARD_COMPONENTS
from forgather_convert.families.derived_calls import HOOK_NAMES
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.tensors.weight_mapping import WeightMapping

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MappingRow:
    """One rule of a weight mapping, in one direction.

    Attributes:
        sources: The patterns of the source names.
        destinations: The patterns of the destination names.
        operation: The operation; empty if tensors are merely renamed.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    operation: str


@dataclass(frozen=True)
class ConverterDescription:
    """The description of a converter.

    Attributes:
        model_type: The model type it converts.
        origin: Its origin.
        converter_class: Its class, as ``module:Class``.
        hf_model_class: The model class in transformers.
        hf_config_class: The config class in transformers.
        hooks: For every hook, whether the converter implements it itself.
        components: The component of every role of the dynamic model, as ``module:Class``.
        to_forgather: The mapping from Hugging Face to Forgather.
        from_forgather: Its inverse.
    """

    model_type: str
    origin: str
    converter_class: str
    hf_model_class: str
    hf_config_class: str
    hooks: Mapping[str, bool]
    components: Mapping[str, str]
    to_forgather: tuple[MappingRow, ...]
    from_forgather: tuple[MappingRow, ...]


def describe(hooks: FamilyHooks) -> ConverterDescription:
    """Calls all hooks of a converter.

    Raises:
        ConverterError: A hook fails.
    """
    mapping = hooks.weight_mapping()
    own = overridden_hooks(type(hooks.converter))
    return ConverterDescription(
        model_type=hooks.model_type,
        origin=hooks.origin,
        converter_class=_path_of(type(hooks.converter)),
        hf_model_class=_path_of(hooks.get_hf_model_class()),
        hf_config_class=_path_of(hooks.get_hf_config_class()),
        hooks={name: name in own for name in HOOK_NAMES},
        components=_components(hooks),
        to_forgather=_rows(mapping),
        from_forgather=_rows(mapping.inverted()),
    )


def hook_summary(name: str) -> str:
    """The first line of a hook's documentation."""
    return (getattr(ConverterHooks, name).__doc__ or "").strip().splitlines()[0]


def _components(hooks: FamilyHooks) -> dict[str, str]:
    try:
        make_config = next(iter(tiny_cases(hooks).values()))
        _, project = project_of(hooks, make_config())
    except Exception as error:
        # The description helps to find the error, so it must appear nevertheless.
        logger.warning(
            "The standard components are shown, because create_project_config fails: %s", error
        )
        return dict(STANDARD_COMPONENTS)
    return {
        binding.role if binding.kind is None else f"{binding.role} ({binding.kind})": (
            f"{binding.module}:{binding.name}"
        )
        for binding in project.role_bindings()
    }


def _rows(mapping: WeightMapping) -> tuple[MappingRow, ...]:
    return tuple(
        MappingRow(
            rule.sources,
            rule.destinations,
            ", ".join(map(str, rule.operations)),
        )
        for rule in mapping.rules
    )


def _path_of(value: object) -> str:
    if isinstance(value, type):
        return f"{value.__module__}:{value.__qualname__}"
    return repr(value)
