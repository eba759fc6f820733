"""The operations of weight mappings. Each is exact and knows its inverse.

Operations are applied to a *series* of *groups*: a group consists of the tensors that a rule names
together, and a series has one group for every number of a placeholder that only one side of the
rule has. Without such a placeholder there is one group.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import ConverterError, MappingError
from forgather_convert.tensors.expressions import (
    Concatenate,
    Expression,
    Permute,
    Reshape,
    Shape,
    Slice,
    name_of,
    stacked,
)
from forgather_convert.tensors.tensor_ref import format_shape

Group = tuple[Expression, ...]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Transpose:
    """Exchanges two dimensions."""

    dim0: int = 0
    dim1: int = 1

    def inverse(self) -> "Transpose":
        return self

    def shape(self, shape: Shape, config: Config) -> Shape:
        return tuple(shape[dim] for dim in self._order(len(shape)))

    def apply(self, value: Expression, config: Config) -> Expression:
        if not 0 <= max(self.dim0, self.dim1) < len(value.shape):
            raise MappingError(
                f"{name_of(value)} has the shape {format_shape(value.shape)}; its dimensions "
                f"{self.dim0} and {self.dim1} cannot be exchanged. Check the weight mapping."
            )
        return Permute(value, self._order(len(value.shape)))

    def _order(self, rank: int) -> tuple[int, ...]:
        order = list(range(rank))
        if max(self.dim0, self.dim1) < rank:
            order[self.dim0], order[self.dim1] = order[self.dim1], order[self.dim0]
        return tuple(order)


@dataclass(frozen=True)
class PermuteHeads:
    """Reorders the rows of each head between the halves and the interleaved layout of RoPE.

    The halves layout, ``[heads, 2, head_dim / 2]``, has first all real and then all imaginary
    parts; the interleaved one, ``[heads, head_dim / 2, 2]``, has them in pairs.

    Attributes:
        heads: The config field with the number of heads.
        to_pairs: Whether the result is interleaved.
    """

    heads: str
    to_pairs: bool = True

    def inverse(self) -> "PermuteHeads":
        return PermuteHeads(self.heads, not self.to_pairs)

    def shape(self, shape: Shape, config: Config) -> Shape:
        return shape

    def apply(self, value: Expression, config: Config) -> Expression:
        count = _count(self.heads, config)
        parts = (count, 2, -1) if self.to_pairs else (count, -1, 2)
        return _swap_row_parts(value, parts, (0, 2, 1))


@dataclass(frozen=True)
class Deinterleave:
    """Reorders rows that alternate between parts, group by group, into one part after the other.

    A fused projection of ``[groups, parts, size]`` rows becomes ``[parts, groups, size]``: with
    three parts and a group for every head, first all queries, then all keys, then all values.

    Attributes:
        parts: The number of parts in a group.
        groups: The config field with the number of groups.
        is_inverse: Whether it interleaves instead.
    """

    parts: int
    groups: str
    is_inverse: bool = False

    def inverse(self) -> "Deinterleave":
        return Deinterleave(self.parts, self.groups, not self.is_inverse)

    def shape(self, shape: Shape, config: Config) -> Shape:
        return shape

    def apply(self, value: Expression, config: Config) -> Expression:
        count = _count(self.groups, config)
        parts = (self.parts, count, -1) if self.is_inverse else (count, self.parts, -1)
        return _swap_row_parts(value, parts, (1, 0, 2))


@dataclass(frozen=True)
class Split:
    """Splits each tensor into several of the model's sizes."""

    dim: int = 0

    def inverse(self) -> "Join":
        return Join(self.dim)


@dataclass(frozen=True)
class Join:
    """Concatenates the tensors of each group."""

    dim: int = 0

    def inverse(self) -> Split:
        return Split(self.dim)


@dataclass(frozen=True)
class Stack:
    """Stacks a numbered series of tensors in a new first dimension.

    Attributes:
        placeholder: The placeholder for the number in the names.
    """

    placeholder: str

    def inverse(self) -> "Unstack":
        return Unstack(self.placeholder)


@dataclass(frozen=True)
class Unstack:
    """Splits one tensor along its first dimension into a numbered series.

    Attributes:
        placeholder: The placeholder for the number in the names.
    """

    placeholder: str

    def inverse(self) -> Stack:
        return Stack(self.placeholder)


#: Operations that turn one tensor into one tensor.
OneToOne = Transpose | PermuteHeads | Deinterleave
Operation = OneToOne | Split | Join | Stack | Unstack


def check_composition(operations: Sequence[Operation], sources: int, destinations: int) -> None:
    """Refuses operations that do not turn the given number of tensors into the given number.

    Raises:
        ConverterError: The operations do not fit.
    """
    count, has_split = sources, False
    series = [operation for operation in operations if isinstance(operation, Stack | Unstack)]
    if len(series) > 1:
        raise ConverterError("a series can be stacked or unstacked only once")
    for operation in operations:
        if has_split and not isinstance(operation, OneToOne):
            raise ConverterError("after a split, operations must apply to each part alone")
        if isinstance(operation, Split | Stack | Unstack) and count != 1:
            raise ConverterError("several tensors must be concatenated first")
        if isinstance(operation, Join):
            count = 1
        elif isinstance(operation, Split):
            count, has_split = destinations, True
    if count != destinations:
        raise ConverterError(
            f"{sources} tensors become {destinations} only with split or concatenate"
        )


def apply_operations(
    operations: Sequence[Operation],
    series: Sequence[Group],
    shapes: Sequence[Shape],
    config: Config,
) -> list[Group]:
    """Turns the tensors of one side of a rule into those of the other.

    Raises:
        MappingError: A shape or a dtype does not fit.
    """
    groups = list(series)
    for position, operation in enumerate(operations):
        match operation:
            case Join(dim):
                groups = [(Concatenate(group, dim),) for group in groups]
            case Split(dim):
                rest = operations[position + 1 :]
                sizes = [_size_before(shape, rest, dim, config) for shape in shapes]
                groups = [_split(group[0], dim, sizes) for group in groups]
            case Stack():
                groups = [(stacked([group[0] for group in groups]),)]
            case Unstack():
                groups = [(value,) for value in _unstacked(groups[0][0])]
            case _:
                groups = [
                    tuple(operation.apply(value, config) for value in group) for group in groups
                ]
    return groups


def _size_before(shape: Shape, operations: Sequence[Operation], dim: int, config: Config) -> int:
    """The size in a dimension that a tensor must have before operations to get a shape."""
    for operation in reversed(operations):
        assert isinstance(operation, OneToOne)
        shape = operation.inverse().shape(shape, config)
    if dim >= len(shape):
        raise MappingError(
            f"A tensor of the shape {format_shape(shape)} cannot be a part of one that is split in "
            f"dimension {dim}. Check the weight mapping."
        )
    return shape[dim]


def _split(value: Expression, dim: int, sizes: Sequence[int]) -> Group:
    if dim >= len(value.shape) or sum(sizes) != value.shape[dim]:
        raise MappingError(
            f"{name_of(value)} has the shape {format_shape(value.shape)}, but should be split into "
            f"{' + '.join(map(str, sizes))} in dimension {dim}. Check that config and weights "
            "belong to the same model."
        )
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(Slice(value, dim, start, size) for start, size in zip(starts, sizes, strict=True))


def _unstacked(value: Expression) -> list[Expression]:
    if not value.shape:
        raise MappingError(f"{name_of(value)} has no dimensions, so it cannot be a series.")
    return [Reshape(Slice(value, 0, index, 1), value.shape[1:]) for index in range(value.shape[0])]


def _count(field: str, config: Config) -> int:
    """A number of heads or groups, from a config."""
    value = config.get(field)
    if type(value) is not int or value < 1:
        raise MappingError(
            f"The weight mapping needs the config field '{field}', which is {value!r}. Check the "
            "weight mapping, or the config."
        )
    return value


def _swap_row_parts(
    value: Expression, parts: tuple[int, int, int], order: tuple[int, int, int]
) -> Expression:
    """Views the rows as three dimensions, one of inferred size, and reorders these."""
    rows = value.shape[0] if value.shape else 0
    known = -math.prod(parts)
    if rows == 0 or rows % known:
        raise MappingError(
            f"{name_of(value)} has the shape {format_shape(value.shape)}; its rows cannot be "
            f"divided by {known}. Check that config and weights belong to the same model."
        )
    sizes = tuple(rows // known if size == -1 else size for size in parts)
    rest = value.shape[1:]
    divided = Reshape(value, (*sizes, *rest))
    dims = (*order, *range(3, 3 + len(rest)))
    return Reshape(Permute(divided, dims), value.shape)
