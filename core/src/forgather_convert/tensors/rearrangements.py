"""Rearrangements: tensors that consist of the elements of others, each exactly once.

A rearrangement is written with expressions whose stored tensors are *templates*: they have a name
and a shape, and no place in a file. It can be applied to any tensors of these names, and inverted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from forgather_convert.errors import MappingError
from forgather_convert.tensors.expressions import (
    Concatenate,
    Expression,
    Permute,
    Reshape,
    Shape,
    Slice,
    Stored,
    name_of,
)
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

#: A part of a tensor: where it begins in every dimension, and its value.
_Part = tuple[tuple[int, ...], Expression]


def template(name: str, dtype: str, shape: Shape) -> Stored:
    """A tensor of which only name, dtype and shape are known."""
    return Stored(TensorRef(name, dtype, shape, Path(), 0))


def part_of(value: Expression, dim: int, start: int, length: int) -> Expression:
    """A range of one dimension.

    Ranges of the first dimensions are taken first, so that ranges of bytes remain what they are.
    """
    if (start, length) == (0, value.shape[dim]):
        return value
    if isinstance(value, Slice) and value.dim > dim:
        return Slice(part_of(value.value, dim, start, length), value.dim, value.start, value.length)
    return Slice(value, dim, start, length)


def applied(expression: Expression, tensors: Mapping[str, Expression]) -> Expression:
    """A rearrangement of tensors, which replace the templates of their names.

    Raises:
        MappingError: A tensor does not have its template's shape.
    """
    match expression:
        case Stored(ref):
            value = tensors[ref.name]
            if value.shape != ref.shape:
                raise MappingError(
                    f"{name_of(value)} has the shape {format_shape(value.shape)}, but the config "
                    f"makes it {format_shape(ref.shape)}. Check that config and weights belong to "
                    "the same model."
                )
            return value
        case Slice(value, dim, start, length):
            return Slice(applied(value, tensors), dim, start, length)
        case Concatenate(values, dim):
            return Concatenate(tuple(applied(value, tensors) for value in values), dim)
        case Permute(value, dims):
            return Permute(applied(value, tensors), dims)
        case Reshape(value, shape):
            return Reshape(applied(value, tensors), shape)
    raise _not_a_rearrangement(expression)


def inverted(expressions: Mapping[str, Expression]) -> dict[str, Expression]:
    """The templates in rearrangements, as rearrangements of these.

    Args:
        expressions: Rearrangements, by the names of the tensors that they make.

    Raises:
        MappingError: They do not have every element of a template, or have one twice.
    """
    refs: dict[str, TensorRef] = {}
    parts: defaultdict[str, list[_Part]] = defaultdict(list)
    for name, expression in expressions.items():
        value = template(name, expression.dtype, expression.shape)
        for ref, part in _parts(expression, (0,) * len(expression.shape), value):
            refs[ref.name] = ref
            parts[ref.name].append(part)
    return {name: _assembled(refs[name], found, 0) for name, found in parts.items()}


def _parts(
    expression: Expression, starts: tuple[int, ...], value: Expression
) -> list[tuple[TensorRef, _Part]]:
    """The parts of templates that are known if a part of an expression is."""
    match expression:
        case Stored(ref):
            return [(ref, (starts, value))]
        case Slice(whole, dim, start, _):
            return _parts(whole, _with(starts, dim, starts[dim] + start), value)
        case Permute(whole, dims):
            inverse = tuple(map(dims.index, range(len(dims))))
            moved = tuple(starts[dim] for dim in inverse)
            return _parts(whole, moved, Permute(value, inverse))
        case Reshape(whole, shape) if value.shape == shape:
            return _parts(whole, (0,) * len(whole.shape), Reshape(value, whole.shape))
        case Concatenate(values, dim):
            found, offset = [], 0
            begin, end = starts[dim], starts[dim] + value.shape[dim]
            for each in values:
                low, high = max(begin, offset), min(end, offset + each.shape[dim])
                if low < high:
                    piece = part_of(value, dim, low - begin, high - low)
                    found += _parts(each, _with(starts, dim, low - offset), piece)
                offset += each.shape[dim]
            return found
    raise _not_a_rearrangement(expression)


def _assembled(ref: TensorRef, parts: Sequence[_Part], dim: int) -> Expression:
    """A tensor made of parts that are equal in all dimensions before the given one."""
    if dim == len(ref.shape):
        if len(parts) > 1:
            raise _incomplete(ref)
        return parts[0][1]
    by_start: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in parts:
        by_start[part[0][dim]].append(part)
    position, values = 0, []
    for start, group in sorted(by_start.items()):
        lengths = {value.shape[dim] for _, value in group}
        if start != position or len(lengths) > 1:
            raise _incomplete(ref)
        position += lengths.pop()
        values.append(_assembled(ref, group, dim + 1))
    if position != ref.shape[dim]:
        raise _incomplete(ref)
    return values[0] if len(values) == 1 else Concatenate(tuple(values), dim)


def _with(starts: tuple[int, ...], dim: int, start: int) -> tuple[int, ...]:
    return (*starts[:dim], start, *starts[dim + 1 :])


def _incomplete(ref: TensorRef) -> MappingError:
    return MappingError(f"The parts of '{ref.name}' overlap, or are not all there.")


def _not_a_rearrangement(expression: Expression) -> MappingError:
    return MappingError(
        f"{type(expression).__name__} of {format_shape(expression.shape)} is not a rearrangement "
        "that can be applied to other tensors and inverted."
    )
