"""Compares the weights of two models, through the name mapping."""

from collections.abc import Callable

from forgather_convert.compare.models import ComparedModel
from forgather_convert.compare.result import TensorComparison, TensorDifference, TensorStatus
from forgather_convert.progress import Phase, Progress
from forgather_convert.tensors.dtypes import tensor_bytes
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.matching import match_partially
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.same_bits import have_same_bits
from forgather_convert.tensors.weight_mapping import WeightMapping


def compare_tensors(
    a: ComparedModel, b: ComparedModel, mapping: WeightMapping | None, progress: Progress
) -> TensorComparison:
    """Compares all weights, piece by piece.

    Args:
        a: One model.
        b: The other.
        mapping: From ``a``'s tensor names to ``b``'s; ``None`` if they are the same.
        progress: Receives the bytes compared, in the phase ``COMPARE``.

    Raises:
        MappingError: An operation of the mapping does not fit the tensors.
    """
    expected, lacking = dict(a.state), []
    if mapping is not None:
        # The shapes in b's files, not those in its config: the configs are compared separately.
        shapes = {name: value.shape for name, value in b.state.items()}
        present = ModelParameters(
            shapes={**b.parameters.shapes, **shapes}, tied={}, vocabulary_tensors=()
        )
        match = match_partially(a.state, mapping, present, a.source.config)
        expected, lacking = match.expressions, match.unmapped
    others = [
        TensorDifference(name, TensorStatus.MISSING, _form(a.state[name]), None) for name in lacking
    ]
    num_identical = 0
    names = [*b.state, *(name for name in expected if name not in b.state)]
    pairs = [(name, expected.get(name), b.state.get(name)) for name in names]
    pairs += [
        (name, a.carried.get(name), b.carried.get(name))
        for name in dict.fromkeys((*b.carried, *a.carried))
    ]
    progress.start(Phase.COMPARE, sum(_compared_bytes(one, other) for _, one, other in pairs))
    for name, one, other in pairs:
        difference = _compare(name, one, other, progress.advance)
        if difference.status is TensorStatus.IDENTICAL:
            num_identical += 1
        else:
            others.append(difference)
    return TensorComparison(num_identical, tuple(others))


def _compared_bytes(a: Expression | None, b: Expression | None) -> int:
    """The size of two tensors if their elements are compared, else 0."""
    if a is None or b is None or a.shape != b.shape:
        return 0
    return tensor_bytes(a.dtype, a.shape) + tensor_bytes(b.dtype, b.shape)


def _compare(
    name: str, a: Expression | None, b: Expression | None, advance: Callable[[int], None]
) -> TensorDifference:
    if a is None or b is None:
        status = TensorStatus.EXTRA if a is None else TensorStatus.MISSING
        return TensorDifference(name, status, _form(a), _form(b))
    if a.shape != b.shape:
        return TensorDifference(name, TensorStatus.OTHER_SHAPE, _form(a), _form(b))
    status, largest = _compare_values(a, b, advance)
    return TensorDifference(name, status, _form(a), _form(b), largest)


def _form(value: Expression | None) -> tuple[str, tuple[int, ...]] | None:
    return None if value is None else (value.dtype, value.shape)


def _compare_values(
    a: Expression, b: Expression, advance: Callable[[int], None]
) -> tuple[TensorStatus, float]:
    """Compares the elements of two tensors of one shape; also gives the largest difference."""
    from forgather_convert.logit_check.comparison import largest_difference

    is_cast = a.dtype != b.dtype
    # Either may be the other one rounded; or widened, which loses nothing.
    fits_b = fits_a = True
    largest = 0.0
    with Evaluator() as evaluator:
        for one, other in evaluator.pairs(a, b):
            is_same = have_same_bits(one.to(other.dtype), other)
            fits_b = fits_b and is_same
            fits_a = fits_a and (have_same_bits(one, other.to(one.dtype)) if is_cast else is_same)
            if is_cast or not is_same:
                largest = max(largest, largest_difference(one, other))
            advance(one.nbytes + other.nbytes)
    if not (fits_a or fits_b):
        return TensorStatus.DIFFERENT, largest
    return TensorStatus.EQUAL_AFTER_CAST if is_cast else TensorStatus.IDENTICAL, largest
