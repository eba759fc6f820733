"""Plans the weights files of a target from names and headers, before its models are known.

Importing torch and transformers takes longer than copying a small model, so its files are written
meanwhile. Which tensors are parameters, tied or unused, only the models' classes know: they confirm
this plan, or the weights are planned again from them.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from forgather_convert.models.original_weights import OriginalWeights, without_kept
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.weights import WeightsPlan, plan_weights
from forgather_convert.planning.weights_content import WeightsContent
from forgather_convert.source.detection import Direction
from forgather_convert.source.legacy import normalize_tensors, second_names_of
from forgather_convert.source.tokenizer_directory import has_tokenizer, names_padding_token
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.tensors.placing import find_places
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.text_names import TextNames
from forgather_convert.tensors.weight_mapping import WeightMapping

_DIMENSIONS_OF_MASKS = 4
_NUMBER = re.compile(r"\.(\d+)\.")


def plan_early_weights(request: PlanRequest) -> WeightsPlan | None:
    """Plans the weights files if tensors are merely renamed; does not import torch.

    Returns:
        ``None`` if names and headers do not suffice.

    Raises:
        SourceError: The provenance is damaged.
    """
    if not _keeps_bytes(request):
        return None
    if request.detection.direction is Direction.TO_FORGATHER:
        content = _to_forgather(request)
    else:
        content = _from_forgather(request)
    if content is None:
        return None
    plan = plan_weights(request, content)
    # The order of a model's tensors is that of its parameters.
    return None if plan.is_packed else plan


def _keeps_bytes(request: PlanRequest) -> bool:
    """Whether bytes do not change, judging by options and file names."""
    detection, options = request.detection, request.options
    directory = detection.metadata_directory
    is_given_padding = (
        detection.direction is Direction.TO_FORGATHER
        and request.tokens is None
        and not options.skip_default_tokens
        and has_tokenizer(directory)
        and not names_padding_token(directory)
    )
    return (
        options.keeps_division
        and not options.code_only
        and options.link is None
        and detection.dequantizer is None
        and detection.dtype_is_stated
        and options.dtype is None
        and not request.tokens
        and options.pad_vocab_to_multiple_of == 1
        and not is_given_padding
    )


def _to_forgather(request: PlanRequest) -> WeightsContent | None:
    config, model = request.detection.config, request.model
    detection = request.detection
    named = _named(detection.tensors, request.hooks.weight_mapping())
    if named is None or _may_be_in_memory_form(named, detection.tensors):
        return None
    unused: Mapping[str, Expression] = {}
    others = {**named.others, **{n: stored(ref) for n, ref in detection.other_tensors.items()}}
    if others and not request.options.drop_unused:
        unused = without_kept(others, model.describe_weights(others))
    tied = second_names_of(config, named.tensors)
    tensors = {name: value for name, value in named.tensors.items() if name not in tied}
    return WeightsContent(is_forgather=True, tensors=tensors, unused=unused, tied=tied)


def _from_forgather(request: PlanRequest) -> WeightsContent | None:
    config, model = request.detection.config, request.model
    if model.provenance is not None and model.provenance.in_loaded_form:
        # What its tensors are called in memory, only transformers knows.
        return None
    mapping = request.hooks.weight_mapping().inverted()
    refs = normalize_tensors(model.checkpoint.tensors)
    second_names = second_names_of(config, refs, is_tied_by_default=True)
    named = _named({name: refs[name] for name in refs if name not in second_names}, mapping)
    if named is None or not all(re.search(RECOMPUTED, name) for name in named.others):
        return None
    rename = mapping.renamer()
    renamed = {rename(second): rename(first) for second, first in second_names.items()}
    tied = {second: first for second, first in renamed.items() if second and first}
    if request.options.text_only:
        return WeightsContent(is_forgather=False, tensors=named.tensors, tied=tied)
    original = None if model.provenance is None else model.provenance.weights
    unused: Mapping[str, Expression] = {}
    if not request.options.drop_unused:
        unused = model.unused_tensors(gives_layout_back=original is not None).tensors
    if request.hooks.is_composite:
        prefix = None if model.provenance is None else model.provenance.text_prefix
        if prefix is None:
            return None
        return WeightsContent(
            is_forgather=False, tensors=named.tensors, unused=unused, tied=tied, original=original
        ).in_composite(TextNames(prefix))
    return WeightsContent(
        is_forgather=False,
        tensors=named.tensors,
        unused=unused,
        tied=tied,
        original=original,
        other_names=_other_names(original, {*named.tensors, *tied, *unused}),
    )


@dataclass(frozen=True)
class _Named:
    """A checkpoint's tensors.

    Attributes:
        tensors: Those that a mapping covers, by their new names.
        others: The others, by their own names.
    """

    tensors: Mapping[str, Expression]
    others: Mapping[str, Expression]


def _named(refs: Mapping[str, TensorRef], mapping: WeightMapping) -> _Named | None:
    """Renames tensors; ``None`` if one is not merely renamed, or two get the same name."""
    places = find_places(refs, mapping)
    if places.computed or len({*places.renamed.values()}) < len(places.renamed):
        return None
    return _Named(
        {new_name: stored(refs[name]) for name, new_name in places.renamed.items()},
        {name: stored(refs[name]) for name in places.unplaced},
    )


def _may_be_in_memory_form(named: _Named, names: Iterable[str]) -> bool:
    """Whether tensors without a place belong to layers that the model has, and are no masks.

    If so, they may be its weights in another form, and not those of additional layers.
    """
    others = {
        name
        for name, value in named.others.items()
        if value.dtype in WEIGHT_DTYPES
        and len(value.shape) < _DIMENSIONS_OF_MASKS
        and not re.search(RECOMPUTED, name)
    }
    layers = {_layer(name) for name in names if name not in named.others} - {None}
    unknown = {_layer(name) for name in others} - {None}
    return bool(unknown) and (not layers or not unknown.isdisjoint(layers))


def _layer(name: str) -> str | None:
    number = _NUMBER.search(name)
    return None if number is None else number[1]


def _other_names(original: OriginalWeights | None, known: Collection[str]) -> dict[str, str]:
    """The names of tensors that have other names in an original of the base model."""
    if original is None:
        return {}
    bases = {name.partition(".")[0] for name in known}
    return {
        ref.name: f"{base}.{ref.name}"
        for header in original.headers.values()
        for ref in header.tensors
        if ref.name not in known
        for base in bases
        if f"{base}.{ref.name}" in known
    }
