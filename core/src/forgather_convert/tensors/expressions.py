"""Expressions of tensors: a closed algebra of values that are checked on construction.

An expression knows its dtype and shape without reading anything, and expressions can be composed
freely. :mod:`byte_ranges` finds those that are mere copies, and :mod:`evaluation` computes them
piece by piece.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forgather_convert.errors import MappingError
from forgather_convert.tensors.dtypes import (
    FLOAT8_DTYPES,
    PACKED_DTYPES,
    SCALE_DTYPES,
    PackedEncoding,
    dtype_size,
    tensor_bytes,
)
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.tensors.tensor_ref import JoinedRef, TensorRef, format_shape

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as it is stored in a file."""

    ref: TensorRef

    @property
    def dtype(self) -> str:
        return self.ref.dtype

    @property
    def shape(self) -> Shape:
        return self.ref.shape


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that is part of the plan itself.

    Attributes:
        dtype: Its element type.
        shape: Its dimensions.
        data: Its bytes, in row-major order.
    """

    dtype: str
    shape: Shape
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != tensor_bytes(self.dtype, self.shape):
            raise MappingError(
                f"A tensor of {self.dtype} {format_shape(self.shape)} cannot have "
                f"{len(self.data)} bytes."
            )


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of one dimension."""

    value: "Expression"
    dim: int
    start: int
    length: int

    def __post_init__(self) -> None:
        _check_dim(self.value, self.dim, "cut")
        if self.start < 0 or self.length < 0 or self.start + self.length > self.size:
            raise MappingError(
                f"{name_of(self.value)} has {self.size} elements in dimension {self.dim}; it "
                f"cannot be cut at {self.start} to {self.start + self.length}."
            )

    @property
    def size(self) -> int:
        return self.value.shape[self.dim]

    @property
    def dtype(self) -> str:
        return self.value.dtype

    @property
    def shape(self) -> Shape:
        return _with_size(self.value.shape, self.dim, self.length)


@dataclass(frozen=True, slots=True)
class Concatenate:
    """Several tensors, concatenated in one dimension."""

    values: tuple["Expression", ...]
    dim: int

    def __post_init__(self) -> None:
        if not self.values:
            raise MappingError("There is nothing to concatenate.")
        first = self.values[0]
        _check_dim(first, self.dim, "joined")
        expected = _with_size(first.shape, self.dim, 0)
        for value in self.values[1:]:
            fits = len(value.shape) == len(expected)
            if not fits or _with_size(value.shape, self.dim, 0) != expected:
                raise MappingError(
                    f"{name_of(first)} {format_shape(first.shape)} and {name_of(value)} "
                    f"{format_shape(value.shape)} should be concatenated in dimension "
                    f"{self.dim}, but their other dimensions differ. Check that config and "
                    "weights belong to the same model."
                )
        dtypes = {value.dtype for value in self.values}
        if len(dtypes) > 1:
            raise MappingError(
                f"{', '.join(map(name_of, self.values))} should be concatenated, but are stored "
                f"as {' and '.join(sorted(dtypes))}. Use a checkpoint in which they have one dtype."
            )

    @property
    def dtype(self) -> str:
        return self.values[0].dtype

    @property
    def shape(self) -> Shape:
        size = sum(value.shape[self.dim] for value in self.values)
        return _with_size(self.values[0].shape, self.dim, size)


@dataclass(frozen=True, slots=True)
class Permute:
    """A tensor with its dimensions in another order.

    Attributes:
        value: The tensor.
        dims: For every dimension of the result, the corresponding one of the tensor.
    """

    value: "Expression"
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.dims) != list(range(len(self.value.shape))):
            raise MappingError(
                f"{name_of(self.value)} has the shape {format_shape(self.value.shape)}; its "
                f"dimensions cannot be put in the order {format_shape(self.dims)}."
            )

    @property
    def dtype(self) -> str:
        return self.value.dtype

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape[dim] for dim in self.dims)


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in the same order, with other dimensions."""

    value: "Expression"
    shape: Shape

    def __post_init__(self) -> None:
        if math.prod(self.shape) != math.prod(self.value.shape) or min(self.shape, default=0) < 0:
            raise MappingError(
                f"{name_of(self.value)} has the shape {format_shape(self.value.shape)}, which "
                f"cannot become {format_shape(self.shape)}."
            )

    @property
    def dtype(self) -> str:
        return self.value.dtype


@dataclass(frozen=True, slots=True)
class Cast:
    """Every element rounded to another dtype, as torch rounds."""

    value: "Expression"
    dtype: str

    def __post_init__(self) -> None:
        tensor_bytes(self.dtype, ())

    @property
    def shape(self) -> Shape:
        return self.value.shape


@dataclass(frozen=True, slots=True)
class ResizeRows:
    """A vocabulary matrix with more rows, or with some rows initialized again.

    Existing rows are rounded to the dtype. Averages are computed in float32 from the stored values
    and rounded once.

    Attributes:
        value: The old matrix; its first dimension is that of the tokens.
        size: The new number of rows.
        num_tokens: How many of the old rows belong to tokens.
        rows: The initialization of new or reset rows, by row; it includes every new one.
        dtype: The dtype of the result.
    """

    value: "Expression"
    size: int
    num_tokens: int
    rows: Mapping[int, RowInit]
    dtype: str

    def __post_init__(self) -> None:
        if not self.value.shape:
            raise MappingError(f"{name_of(self.value)} has no rows.")
        old = self.value.shape[0]
        used = [row for init in self.rows.values() for row in init.rows]
        is_complete = all(row in self.rows for row in range(old, self.size))
        if self.size < old or self.num_tokens > old or not is_complete:
            raise MappingError(
                f"{name_of(self.value)} has {old} rows; it cannot become a matrix of {self.size}."
            )
        if any(not 0 <= row < self.size for row in self.rows) or any(
            not 0 <= row < old for row in used
        ):
            raise MappingError(f"{name_of(self.value)} lacks rows to initialize new ones from.")

    @property
    def shape(self) -> Shape:
        return (self.size, *self.value.shape[1:])


@dataclass(frozen=True, slots=True)
class Unpack:
    """Numbers of a few bits, of which each stored integer holds several.

    Attributes:
        value: The integers, in which the number with the lowest bits comes first.
        dim: The dimension in which they hold several numbers.
        encoding: What the bits of a number mean: itself (``"unsigned"``), the number plus half of
            their range (``"offset"``), or a floating-point number of 4 bits (``"e2m1"``).
        bits: The bits of a number.
        size: The number of numbers in the dimension; the last integer may hold fewer than fit.
        order: For every number of an integer, its place there; by default, they are in order.
        increment: Is added to every integer before it is unpacked, modulo its range.
    """

    value: "Expression"
    dim: int
    encoding: PackedEncoding
    bits: int
    size: int
    order: tuple[int, ...] = ()
    increment: int = 0

    def __post_init__(self) -> None:
        require_stored_as(self.value, ("int32", "uint8"))
        _check_dim(self.value, self.dim, "unpacked")
        if self.bits not in (2, 4, 8) or (self.encoding == "e2m1" and self.bits != 4):
            raise MappingError(
                f"{name_of(self.value)} cannot be unpacked to numbers of {self.bits} bits."
            )
        if self.order and sorted(self.order) != list(range(self.per_integer)):
            raise MappingError(
                f"{name_of(self.value)} holds {self.per_integer} numbers in each integer, which "
                f"cannot be in the order {format_shape(self.order)}."
            )
        if -(-self.size // self.per_integer) != self.value.shape[self.dim]:
            raise MappingError(
                f"{name_of(self.value)} has the shape {format_shape(self.value.shape)}; dimension "
                f"{self.dim} cannot hold {self.size} numbers of {self.bits} bits. Check that "
                "config and weights belong to the same model."
            )

    @property
    def per_integer(self) -> int:
        """How many numbers an integer holds."""
        return 8 * dtype_size(self.value.dtype) // self.bits

    @property
    def dtype(self) -> str:
        """A type of 8 bits that has all the numbers."""
        return PACKED_DTYPES[self.encoding]

    @property
    def shape(self) -> Shape:
        return _with_size(self.value.shape, self.dim, self.size)


@dataclass(frozen=True, slots=True)
class Take:
    """The parts of a tensor that stored indices select in one dimension."""

    value: "Expression"
    dim: int
    index: "Expression"

    def __post_init__(self) -> None:
        _check_dim(self.value, self.dim, "indexed")
        require_stored_as(self.index, ("int32", "int64"))
        if len(self.index.shape) != 1:
            raise MappingError(
                f"{name_of(self.index)} has the shape {format_shape(self.index.shape)}, but "
                "indices have one dimension."
            )

    @property
    def dtype(self) -> str:
        return self.value.dtype

    @property
    def shape(self) -> Shape:
        return _with_size(self.value.shape, self.dim, self.index.shape[0])


@dataclass(frozen=True, slots=True)
class BlockScaled:
    """Numbers of 8 or fewer bits, multiplied by one scale per block.

    The difference to the zero point is exact. The product is computed in one type, and rounded to
    another.

    Attributes:
        value: The numbers, ``[..., rows, columns]``, in an 8-bit type.
        scales: One for each block: ``[..., blocks of rows, blocks of columns]``, as floating-point
            numbers, or as the exponents of powers of two, plus 127, in bytes.
        block: The rows and columns of a block. The last block in a dimension may be smaller.
        dtype: The dtype of the result.
        arithmetic: The dtype of the product, to which number and scale are rounded before.
        zeros: The number that stands for zero in each block; by default, 0.
        divides: Whether to divide by the scales instead.
    """

    value: "Expression"
    scales: "Expression"
    block: tuple[int, int]
    dtype: str
    arithmetic: str = "float32"
    zeros: "Expression | None" = None
    divides: bool = False

    def __post_init__(self) -> None:
        require_stored_as(self.value, (*FLOAT8_DTYPES, "int8", "uint8"))
        require_stored_as(self.scales, SCALE_DTYPES)
        tensor_bytes(self.dtype, ())
        tensor_bytes(self.arithmetic, ())
        if len(self.shape) < 2 or min(self.block) < 1:
            raise MappingError(
                f"{name_of(self.value)} has the shape {format_shape(self.shape)}, which cannot be "
                f"divided into blocks of {format_shape(self.block)}."
            )
        counts = (-(-size // step) for size, step in zip(self.shape[-2:], self.block, strict=True))
        expected = (*self.shape[:-2], *counts)
        self._check_shape(self.scales, "scales", expected)
        if self.zeros is not None:
            require_stored_as(self.zeros, ("int8", "uint8"))
            self._check_shape(self.zeros, "zero points", expected)

    def _check_shape(self, part: "Expression", what: str, expected: Shape) -> None:
        if part.shape != expected:
            raise MappingError(
                f"{name_of(self.value)} has the shape {format_shape(self.shape)}. In blocks of "
                f"{format_shape(self.block)} it needs {what} of the shape "
                f"{format_shape(expected)}, but those in {name_of(part)} are "
                f"{format_shape(part.shape)}. Check that config and weights belong to the "
                "same model."
            )

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def has_whole_blocks(self) -> bool:
        """Whether every block has its full size."""
        return all(size % step == 0 for size, step in zip(self.shape[-2:], self.block, strict=True))


Expression = (
    Stored
    | Constant
    | Slice
    | Concatenate
    | Permute
    | Reshape
    | Cast
    | ResizeRows
    | Unpack
    | Take
    | BlockScaled
)


def stored(ref: TensorRef) -> Expression:
    """A tensor stored in a file, or in parts in several files.

    A tensor that is stored transposed becomes a permutation of the stored one.
    """
    if isinstance(ref, JoinedRef):
        return Concatenate(tuple(map(stored, ref.parts)), ref.dim)
    if ref.stride is None:
        return Stored(ref)
    order = sorted(range(len(ref.shape)), key=lambda dim: -ref.stride[dim] if ref.stride else 0)
    straight = replace(ref, shape=tuple(ref.shape[dim] for dim in order), stride=None)
    if tuple(ref.stride[dim] for dim in order) != contiguous_strides(straight.shape):
        return Stored(ref)
    return Permute(Stored(straight), tuple(order.index(dim) for dim in range(len(order))))


def stacked(values: Sequence[Expression]) -> Expression:
    """Several tensors of the same shape, stacked in a new first dimension."""
    return Concatenate(tuple(Reshape(value, (1, *value.shape)) for value in values), 0)


def cast(value: Expression, dtype: str) -> Expression:
    """A tensor in a dtype; the tensor itself if it has that dtype."""
    return value if value.dtype == dtype else Cast(value, dtype)


def operands(expression: Expression) -> tuple[Expression, ...]:
    """The direct operands of an expression."""
    if isinstance(expression, Stored | Constant):
        return ()
    if isinstance(expression, Concatenate):
        return expression.values
    if isinstance(expression, Take):
        return (expression.value, expression.index)
    if isinstance(expression, BlockScaled):
        zeros = () if expression.zeros is None else (expression.zeros,)
        return (expression.value, expression.scales, *zeros)
    return (expression.value,)


def leaves(expression: Expression) -> tuple[TensorRef, ...]:
    """The stored tensors that an expression is made of, in the order of their use."""
    refs = []
    pending = [expression]
    while pending:
        value = pending.pop()
        if isinstance(value, Stored):
            refs.append(value.ref)
        else:
            pending += reversed(operands(value))
    return tuple(refs)


def name_of(expression: Expression) -> str:
    """The stored tensors behind an expression, for messages."""
    refs = leaves(expression)
    if not refs:
        return "A constant"
    more = f" and {len(refs) - 1} more" if len(refs) > 1 else ""
    return f"'{refs[0].name}'{more} in {refs[0].file}"


def describe(expression: Expression) -> str:
    """The operations on the stored tensors, in words."""
    match expression:
        case Stored():
            return ""
        case Constant():
            return "restore"
        case Slice(_, dim, start, length):
            words = f"take {start} to {start + length} of dimension {dim}"
        case Concatenate(values, dim):
            words = f"concatenate {len(values)} in dimension {dim}"
        case Permute(_, dims):
            words = f"permute to {format_shape(dims)}"
        case Reshape(_, shape):
            words = f"reshape to {format_shape(shape)}"
        case Cast(value, dtype):
            words = f"cast {value.dtype} to {dtype}"
        case ResizeRows(_, size, _, rows, _):
            words = f"resize to {size} rows, set {len(rows)}"
        case Unpack(_, dim, _, bits, size):
            words = f"unpack {size} numbers of {bits} bits in dimension {dim}"
        case Take(_, dim):
            words = f"select by index in dimension {dim}"
        case BlockScaled(_, _, block, dtype):
            words = f"scale blocks of {format_shape(block)} to {dtype}"
    return ", ".join(filter(None, (describe(operands(expression)[0]), words)))


def contiguous_strides(shape: Shape) -> Shape:
    """The steps between elements of a tensor in row-major order, in elements."""
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))


def _check_dim(value: Expression, dim: int, verb: str) -> None:
    if not 0 <= dim < len(value.shape):
        raise MappingError(
            f"{name_of(value)} has the shape {format_shape(value.shape)}; it cannot be {verb} in "
            f"dimension {dim}."
        )


def require_stored_as(value: Expression, dtypes: Sequence[str]) -> None:
    """Refuses a part of a quantized tensor that has another type than the format demands.

    Raises:
        MappingError: It has.
    """
    if value.dtype not in dtypes:
        raise MappingError(
            f"{name_of(value)} is stored as {value.dtype}, not as {' or '.join(dtypes)}: it is "
            "not a part of a quantized tensor. Check that config and weights belong to the same "
            "model."
        )


def _with_size(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])
