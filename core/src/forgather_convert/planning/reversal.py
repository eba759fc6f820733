"""Checks that a Forgather model can be converted back, by planning that before it is written.

The reverse conversion must be able to read the result of a conversion to Forgather, and restore
the names and shapes of the source and its config. Otherwise, a loss in one direction would only be
noticed in the other, perhaps after a training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgather_convert.errors import ForgatherConvertError, UnsupportedModelError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.forgather import (
    ForgatherDirectory,
    ForgatherSource,
    ForgatherTarget,
    forgather_source,
)
from forgather_convert.models.model import PlanFacts
from forgather_convert.models.original_config import original_config_of
from forgather_convert.models.parameters import parameters_of_class
from forgather_convert.models.reference import rope_fields_of
from forgather_convert.models.targets import written_fields
from forgather_convert.planning.request import PlannedModel, PlanRequest
from forgather_convert.source.composite import text_config
from forgather_convert.source.config_file import (
    BOOKKEEPING,
    DTYPE_FIELDS,
    is_same_value,
    parse_config,
)
from forgather_convert.source.rope import ROPE_FIELDS
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import TensorRef

_LONGEST = "max_position_embeddings"


def check_reversible(request: PlanRequest, planned: PlannedModel, written: PlanFacts) -> None:
    """Refuses a conversion to Forgather whose result could not be converted back.

    Raises:
        UnsupportedModelError: It could not be converted back; the message says why.
    """
    origin = request.detection.config.origin
    source, destination = planned.source, planned.destination
    try:
        content = ForgatherDirectory(
            config=parse_config(planned.plan.config_text, origin),
            tensors=_without_values(destination.parameters.shapes, request.destination),
            directory=source.directory,
            weights_directory=source.weights_directory,
        )
        back = forgather_source(content, request.hooks)
        match_tensors(
            back.tensors,
            destination.mapping.inverted(),
            _parameters(planned, back),
            back.config,
            origin,
        )
        lost = _lost_fields(request, planned, written, back)
    except ForgatherConvertError as error:
        raise UnsupportedModelError(
            f"The Forgather model of {request.detection.source} could not be converted back: "
            f"{error}"
        ) from error
    if lost:
        fields = "".join(
            f"\n  {name}: {before!r} would be {after!r}" for name, before, after in lost
        )
        raise UnsupportedModelError(
            f"The Forgather model of {request.detection.source} could not be converted back: the "
            f"config would differ from {origin}:{fields}\nFix the converter "
            f"{request.hooks.name}, or these fields."
        )


def _without_values(
    shapes: Mapping[str, tuple[int, ...]], directory: Path
) -> dict[str, Expression]:
    """Tensors of these names and shapes, which are never read."""
    return {
        name: stored(TensorRef(name, "float32", shape, directory, 0))
        for name, shape in shapes.items()
    }


def _parameters(planned: PlannedModel, back: ForgatherSource) -> ModelParameters:
    """The parameters of the restored model, which is only built if it may differ."""
    source, config = planned.source, planned.source_config
    before, after = (
        _fields(config_object, back.hooks, config.origin)
        for config_object in (source.config_object, back.config_object)
    )
    if config.to_dict() == source.config.to_dict() and before == after:
        return source.parameters()
    return parameters_of_class(back.hooks.get_hf_model_class(), back.config_object)


def _fields(config_object: Any, hooks: FamilyHooks, origin: str) -> dict[str, Any]:
    """The fields that say what a model computes, with RoPE in one schema."""
    fields, rope = config_object.to_dict(), rope_fields_of(config_object, hooks, origin)
    others = fields.keys() - BOOKKEEPING - {*ROPE_FIELDS, *rope}
    return {**{name: fields[name] for name in others}, **rope}


def _lost_fields(
    request: PlanRequest, planned: PlannedModel, written: PlanFacts, back: ForgatherSource
) -> list[tuple[str, Any, Any]]:
    """The fields of the source's config that would differ, except those changed on request."""
    source, config, destination = planned.source, planned.source_config, planned.destination
    assert isinstance(destination, ForgatherTarget)
    hooks, text = request.hooks, destination.original_config_text
    original = original_config_of(text, written.source_dtypes, hooks)
    if original is None:
        # A model converted as another family is restored as that family.
        return []
    fields = written_fields(
        hooks, back.config_object, back.config, request.detection.dtype, original
    )
    restored = original.changed_to(fields, written.dtypes)
    if restored == text:
        return []
    changed = {name for name in config if config[name] != source.config.get(name)}
    if request.options.max_length is not None:
        names = {**source.config_object.attribute_map, **hooks.get_field_names()}
        changed |= {_LONGEST, *names.keys(), *names.values()}
    if changed or written.dtypes != written.source_dtypes or not original.states_dtype:
        # What else is written then says the same for both versions of transformers.
        changed |= {*original.rope_fields, *DTYPE_FIELDS}
    before, after = parse_config(text, ""), parse_config(restored, "")
    if hooks.is_composite:
        before, after = text_config(before), text_config(after)
    return [
        (name, before.get(name), after.get(name))
        for name in sorted({*before, *after} - changed)
        if name not in before or name not in after or not is_same_value(before[name], after[name])
    ]
