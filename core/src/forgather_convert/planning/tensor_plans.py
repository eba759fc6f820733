"""Plans every tensor, and chooses the division into files."""

import logging

from forgather_convert.models.model import TargetModel
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.layout import Layout, mirror_layout, mirrors_source, packed_layout
from forgather_convert.planning.plan import TensorPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.tensors.expressions import ResizeRows, cast
from forgather_convert.tensors.matching import TensorMatch
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.weights.file_names import SAFETENSORS

logger = logging.getLogger(__name__)


def tensor_plans(
    request: PlanRequest,
    match: TensorMatch,
    parameters: ModelParameters,
    vocabulary: VocabularyChange | None,
) -> tuple[TensorPlan, ...]:
    """A plan for every stored tensor; bytes change only if a dtype was requested.

    Tensors that transformers keeps in float32 when it loads the model in that dtype are not
    rounded here, either.

    A config may state another dtype than the weights have; loaders convert on reading, so the
    stored values are kept. Only if no dtype is stated, the default is applied to the weights.
    """
    detection, options = request.detection, request.options
    is_cast = options.dtype is not None or not detection.dtype_is_stated
    others = {value.dtype for value in match.expressions.values()} - {detection.dtype}
    if others and options.dtype is None:
        stored = ", ".join(sorted(others))
        if is_cast:
            logger.warning(
                "The config states no dtype; weights stored as %s become %s. "
                "Use --dtype to choose another",
                stored,
                detection.dtype,
            )
        else:
            logger.warning(
                "The config states %s, but some weights are stored as %s, which is kept. "
                "Use --dtype to change it",
                detection.dtype,
                stored,
            )
    resizes = vocabulary is not None and vocabulary.changes_matrices
    plans = []
    for name, value in match.expressions.items():
        dtype = value.dtype
        if is_cast:
            dtype = parameters.dtype_in_cast(name, value.dtype, detection.dtype)
        if resizes and vocabulary is not None and name in parameters.vocabulary_tensors:
            value = ResizeRows(
                value, vocabulary.size, vocabulary.num_tokens_before, vocabulary.rows, dtype
            )
        plans.append(TensorPlan(name, cast(value, dtype)))
    return tuple(plans)


def choose_layout(
    request: PlanRequest, tensors: tuple[TensorPlan, ...], destination: TargetModel
) -> Layout:
    """Keeps the source's division into files if possible, or makes a new one."""
    checkpoint, options = request.checkpoint, request.options
    is_strict = destination.is_loaded_strictly
    second_names = destination.parameters.tied if is_strict else {}
    keeps_division = options.max_shard_size is None
    if keeps_division and mirrors_source(tensors, checkpoint, options.weights_format):
        return mirror_layout(tensors, checkpoint, second_names)
    return packed_layout(
        tensors, options.weights_format, options.max_shard_size, second_names, has_index=is_strict
    )


def overrides_sharding(options: ConvertOptions) -> bool:
    """Whether the user requests another format or division of the weights."""
    return options.max_shard_size is not None or options.weights_format != SAFETENSORS
