"""What happens to every tensor."""

import logging

from forgather_convert.planning.request import PlanRequest
from forgather_convert.tensors.expressions import Expression, ResizeRows, cast
from forgather_convert.tensors.matching import TensorMatch
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.vocabulary.change import VocabularyChange

logger = logging.getLogger(__name__)


def target_tensors(
    request: PlanRequest,
    match: TensorMatch,
    parameters: ModelParameters,
    vocabulary: VocabularyChange | None,
) -> dict[str, Expression]:
    """What every tensor of the target is made of; bytes change only if a dtype was asked for.

    What transformers does not round when it loads the model in that dtype is not rounded here.

    A config may misstate what its weights are stored as; loaders convert on reading, so
    that the stored values are kept. Only where nothing says what the dtype is, the
    default is applied to the weights.
    """
    detection, options = request.detection, request.options
    is_cast = options.dtype is not None or not detection.dtype_is_stated
    others = {value.dtype for value in match.expressions.values()} - {detection.dtype}
    if others and options.dtype is None:
        stored = ", ".join(sorted(others))
        if is_cast:
            logger.warning(
                "The config does not say its dtype; weights stored as %s become %s. "
                "Use --dtype to choose",
                stored,
                detection.dtype,
            )
        else:
            logger.warning(
                "The config says %s, but there are weights stored as %s; they stay as they are. "
                "Use --dtype to change them",
                detection.dtype,
                stored,
            )
    resizes = vocabulary is not None and vocabulary.changes_matrices
    planned = {}
    for name, value in match.expressions.items():
        dtype = value.dtype
        if is_cast:
            dtype = parameters.dtype_in_cast(name, value.dtype, detection.dtype)
        if resizes and vocabulary is not None and name in parameters.vocabulary_tensors:
            value = ResizeRows(
                value, vocabulary.size, vocabulary.num_tokens_before, vocabulary.rows, dtype
            )
        planned[name] = cast(value, dtype)
    return planned
