"""Predicts the weights files of a conversion before its models are known."""

import re
from collections.abc import Mapping

from forgather_convert.models.carried_tensors import CarriedTensors
from forgather_convert.models.provenance import read_provenance, unused_tensors
from forgather_convert.planning.layout import mirror_layout
from forgather_convert.planning.original_layout import original_layout
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.tensor_plans import overrides_sharding
from forgather_convert.source.detection import Direction
from forgather_convert.source.legacy import (
    normalize_tensors,
    second_names_of,
    without_second_names,
)
from forgather_convert.source.tokenizer_directory import has_tokenizer, names_padding_token
from forgather_convert.tensors.expressions import stored
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.weights.file_names import SAFETENSORS


def draft_shards(request: PlanRequest) -> tuple[ShardPlan, ...]:
    """The weights files of the result if every tensor is merely renamed.

    They follow from names and headers, without torch and transformers. Importing these takes longer
    than copying a small model, whose files can be written meanwhile. The prediction may be wrong:
    only files that are also in the plan, which is made from the models, are kept.

    Returns:
        The files; none if tensors are not merely renamed, or the files cannot be predicted.

    Raises:
        SourceError: The provenance is damaged.
    """
    if not _keeps_bytes(request):
        return ()
    refs, mapping = request.checkpoint.tensors, request.hooks.weight_mapping()
    original, unused = None, CarriedTensors()
    if request.detection.direction is Direction.FROM_FORGATHER:
        refs = without_second_names(request.detection.config, normalize_tensors(refs))
        mapping = mapping.inverted()
        provenance = read_provenance(request.detection.metadata_directory)
        original = provenance.weights if provenance is not None else None
        if not request.options.drop_unused:
            directory = request.detection.metadata_directory
            unused = unused_tensors(directory, provenance, original is not None)
    rename = mapping.renamer()
    tensors = []
    for name, ref in refs.items():
        new_name = rename(name)
        if new_name is not None:
            tensors.append(TensorPlan(new_name, stored(ref)))
        elif not re.search(RECOMPUTED, name):
            return ()
    if original is None:
        if unused.tensors:
            return ()
        second_names: Mapping[str, str] = {}
        if request.detection.direction is Direction.TO_FORGATHER:
            second_names = second_names_of({tensor.name for tensor in tensors})
        return mirror_layout(tensors, request.checkpoint, second_names).shards
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    parameters = ModelParameters(shapes, tied={}, vocabulary_tensors=())
    layout = original_layout(tuple(tensors), original, parameters, unused.tensors)
    return () if layout is None else layout.shards


def _keeps_bytes(request: PlanRequest) -> bool:
    """Whether bytes and their order are kept, judging by options and file names."""
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
        request.checkpoint.files.format == SAFETENSORS
        and not overrides_sharding(options)
        and detection.quantization is None
        and detection.dtype_is_stated
        and options.dtype is None
        and not request.tokens
        and options.pad_vocab_to_multiple_of == 1
        and not is_given_padding
    )
