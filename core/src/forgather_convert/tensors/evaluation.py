"""Evaluates expressions piece by piece: only one piece and its operands are in memory."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.tensors.casts import cast_tensor, num_overflows
from forgather_convert.tensors.dtypes import dtype_size, to_torch
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Cast,
    Concatenate,
    Constant,
    Expression,
    Permute,
    Reshape,
    ResizeRows,
    Shape,
    Slice,
    Stored,
    Take,
    Unpack,
    contiguous_strides,
    name_of,
    operands,
)
from forgather_convert.tensors.quantized_numbers import scale_blocks, unpack_integers
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.tensors.same_bits import have_same_bits
from forgather_convert.tensors.tensor_ref import MemoryRef

if TYPE_CHECKING:
    import torch

#: The maximum size of a piece, in bytes. A piece of a transposed matrix reads the whole matrix, so
#: fewer and larger pieces are faster.
PIECE_BYTES = 64 << 20
#: If elements are computed in the order in which they are stored, small pieces stay in the
#: processor's cache and reuse the same memory.
_SMALL_PIECE_BYTES = 2 << 20

#: How much of a matrix is averaged at once, in bytes; and what the number of columns must be a
#: multiple of, so that torch sums each column as it does in the whole matrix.
_MEAN_BYTES = 256 << 20
_MEAN_COLUMNS = 64

#: The memory for an element of a quantized tensor besides its result: itself and its scale, in
#: float32.
_SCALING_BYTES = 8

#: For every dimension, the first index and the one after the last.
Box = tuple[tuple[int, int], ...]


class Evaluator:
    """Reads ranges of files and computes with them.

    Files are not mapped: a file that becomes shorter meanwhile causes an error, instead of a
    signal that ends the process.

    Args:
        in_memory: The values of tensors that are in memory, by their references.

    Attributes:
        num_overflows: How many numbers became infinite because they were too large for the type
            that they were converted to.
    """

    def __init__(self, in_memory: "Mapping[MemoryRef, torch.Tensor] | None" = None) -> None:
        self.num_overflows = 0
        self._in_memory = in_memory or {}
        self._stack = ExitStack()
        self._files: dict[Path, BinaryIO] = {}
        self._rows: dict[int, dict[int, torch.Tensor]] = {}

    def pieces(self, expression: Expression, limit: int | None = None) -> "Iterator[torch.Tensor]":
        """The elements of an expression in row-major order, in contiguous tensors.

        Args:
            expression: The expression.
            limit: The maximum size of a piece in bytes, unless a single element is larger; by
                default, a size that is fast.

        Raises:
            SourceError: A file cannot be read, or is shorter than it was.
        """
        if limit is None:
            limit = _fast_limit(expression)
        for box in _boxes(expression.shape, max(1, limit // _bytes_per_element(expression))):
            yield self._evaluate(expression, box).contiguous()
        self._rows.clear()

    def pairs(
        self, one: Expression, other: Expression, limit: int | None = None
    ) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Pairs of pieces with the same elements of two expressions of the same shape.

        The pieces are as large as :meth:`pieces` makes them.
        """
        if limit is None:
            limit = max(map(_fast_limit, (one, other)))
        size = max(_bytes_per_element(one), _bytes_per_element(other))
        for box in _boxes(one.shape, max(1, limit // size)):
            yield self._evaluate(one, box).contiguous(), self._evaluate(other, box).contiguous()
        self._rows.clear()

    def value(self, expression: Expression) -> "torch.Tensor":
        """The value of a whole expression."""
        return self._evaluate(expression, tuple((0, size) for size in expression.shape))

    def _evaluate(self, expression: Expression, box: Box) -> "torch.Tensor":
        import torch

        match expression:
            case Stored():
                return self._read(expression, box)
            case Constant(dtype, shape, data):
                flat = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(to_torch(dtype))
                return (
                    _cut(flat.view(shape), box)
                    if data
                    else torch.empty(shape, dtype=to_torch(dtype))
                )
            case Slice(value, dim, start, _):
                low, high = box[dim]
                return self._evaluate(value, _with(box, dim, (low + start, high + start)))
            case Concatenate(values, dim):
                return self._concatenated(values, dim, box)
            case Permute(value, dims):
                inner = tuple(box[dims.index(dim)] for dim in range(len(dims)))
                return self._evaluate(value, inner).permute(dims)
            case Reshape(value, shape):
                return self._reshaped(value, shape, box)
            case Cast(value, dtype):
                return self._cast(self._evaluate(value, box), dtype)
            case ResizeRows():
                return self._resized(expression, box)
            case BlockScaled():
                return self._scaled(expression, box)
            case Unpack():
                return self._unpacked(expression, box)
            case Take(value, dim, index):
                return self._taken(value, dim, index, box)

    def _cast(self, tensor: "torch.Tensor", dtype: str) -> "torch.Tensor":
        result = cast_tensor(tensor, to_torch(dtype))
        self.num_overflows += num_overflows(tensor, result)
        return result

    def _concatenated(self, values: tuple[Expression, ...], dim: int, box: Box) -> "torch.Tensor":
        import torch

        low, high = box[dim]
        parts = []
        position = 0
        for value in values:
            size = value.shape[dim]
            start, end = max(low, position), min(high, position + size)
            if start < end:
                inner = _with(box, dim, (start - position, end - position))
                parts.append(self._evaluate(value, inner))
            position += size
        if not parts:
            return self._evaluate(values[0], _with(box, dim, (0, 0)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)

    def _reshaped(self, value: Expression, shape: Shape, box: Box) -> "torch.Tensor":
        """Computes the rows that contain a box, which are a contiguous range of elements.

        Dimensions in front that both shapes have stay as they are.
        """
        same = 0
        while same < min(len(shape), len(value.shape)) and shape[same] == value.shape[same]:
            same += 1
        kept, rest = box[:same], shape[same:]
        if not rest:
            ones = ((0, 1),) * (len(value.shape) - same)
            return self._evaluate(value, (*kept, *ones)).reshape(_sizes(kept))
        lead = next((dim for dim, size in enumerate(rest) if size != 1), len(rest) - 1)
        low, high = box[same + lead]
        row = math.prod(rest[lead + 1 :])
        flat = self._flat_range(value, kept, low * row, high * row)
        rows = flat.reshape(*_sizes(kept), *rest[:lead], high - low, *rest[lead + 1 :])
        whole = tuple((0, size) for size in _sizes(kept))
        return _cut(rows, (*whole, *_with(box[same:], lead, (0, high - low))))

    def _flat_range(self, value: Expression, kept: Box, start: int, end: int) -> "torch.Tensor":
        """A box in the first dimensions; in the others, elements ``start`` to ``end`` in order."""
        shape = value.shape[len(kept) :]
        if not shape:
            return self._evaluate(value, kept).unsqueeze(-1)[..., start:end]
        lead = next((dim for dim, size in enumerate(shape) if size != 1), len(shape) - 1)
        row = math.prod(shape[lead + 1 :])
        if row == 0 or start == end:
            empty = tuple((0, 0) for _ in shape)
            return self._evaluate(value, (*kept, *empty)).reshape(*_sizes(kept), 0)
        low, high = start // row, -(-end // row)
        box = tuple((0, size) for size in shape)
        rows = self._evaluate(value, (*kept, *_with(box, lead, (low, high))))
        flat = rows.reshape(*_sizes(kept), (high - low) * row)
        return flat[..., start - low * row : end - low * row]

    def _resized(self, expression: ResizeRows, box: Box) -> "torch.Tensor":
        import torch

        dtype = to_torch(expression.dtype)
        (low, high), rest = box[0], box[1:]
        old = expression.value.shape[0]
        kept = self._evaluate(expression.value, ((min(low, old), min(high, old)), *rest))
        shape = (high - low, *(end - start for start, end in rest))
        result = torch.zeros(shape, dtype=dtype)
        result[: kept.shape[0]] = self._cast(kept, expression.dtype)
        for row, value in self._new_rows(expression).items():
            if low <= row < high:
                result[row - low] = _cut(value, rest)
        return result

    def _scaled(self, expression: BlockScaled, box: Box) -> "torch.Tensor":
        *rest, rows, columns = box
        blocks = [
            _enclosing(limits, step)
            for limits, step in zip((rows, columns), expression.block, strict=True)
        ]
        zeros = expression.zeros
        return scale_blocks(
            self._evaluate(expression.value, box),
            self._evaluate(expression.scales, (*rest, *blocks)),
            None if zeros is None else self._evaluate(zeros, (*rest, *blocks)),
            (rows[0], columns[0]),
            expression,
        )

    def _unpacked(self, expression: Unpack, box: Box) -> "torch.Tensor":
        dim, step = expression.dim, expression.per_integer
        low, high = box[dim]
        first, last = _enclosing((low, high), step)
        integers = self._evaluate(expression.value, _with(box, dim, (first, last)))
        numbers = unpack_integers(integers, expression)
        return numbers.narrow(dim, low - first * step if low < high else 0, high - low)

    def _taken(self, value: Expression, dim: int, index: Expression, box: Box) -> "torch.Tensor":
        chosen = self._evaluate(index, (box[dim],))
        if chosen.numel() == 0:
            return self._evaluate(value, _with(box, dim, (0, 0)))
        low, high = int(chosen.min()), int(chosen.max()) + 1
        if low < 0 or high > value.shape[dim]:
            raise SourceError(
                f"{name_of(index)} has indices from {low} to {high - 1}, but {name_of(value)} has "
                f"only {value.shape[dim]} groups. Download the model again."
            )
        return self._evaluate(value, _with(box, dim, (low, high))).index_select(dim, chosen - low)

    def _new_rows(self, expression: ResizeRows) -> "dict[int, torch.Tensor]":
        """The complete new rows, which are computed only once."""
        if id(expression) not in self._rows:
            shared: dict[RowInit, torch.Tensor] = {}
            for init in expression.rows.values():
                if init not in shared:
                    shared[init] = self._new_row(expression, init)
            self._rows[id(expression)] = {
                row: shared[init] for row, init in expression.rows.items()
            }
        return self._rows[id(expression)]

    def _new_row(self, expression: ResizeRows, init: RowInit) -> "torch.Tensor":
        import torch

        value, dtype = expression.value, to_torch(expression.dtype)
        shape = value.shape[1:]
        if init.kind == "zero":
            return torch.zeros(shape, dtype=dtype)
        if init.kind == "mean":
            return self._mean(Slice(value, 0, 0, expression.num_tokens)).to(dtype)
        chosen = [self.value(Slice(value, 0, row, 1))[0] for row in init.rows]
        if len(chosen) == 1:
            return chosen[0].to(dtype)
        return torch.stack(chosen).to(torch.float32).mean(dim=0).to(dtype)

    def _mean(self, rows: Expression) -> "torch.Tensor":
        """The mean of rows in float32, bit for bit like torch; computed by blocks of columns."""
        import torch

        count = max(1, rows.shape[0])
        if len(rows.shape) == 1:
            return self.value(rows).to(torch.float32).mean(dim=0)
        columns = rows.shape[1]
        row = 4 * count * math.prod(rows.shape[2:])
        step = max(1, _MEAN_BYTES // row // _MEAN_COLUMNS) * _MEAN_COLUMNS
        means = []
        for start in range(0, columns, step):
            block = self.value(Slice(rows, 1, start, min(step, columns - start)))
            means.append(block.to(torch.float32).contiguous().mean(dim=0))
        return torch.cat(means)

    def _read(self, expression: Stored, box: Box) -> "torch.Tensor":
        """Reads the bytes between a box's first and last element, in halves if there are many."""
        import torch

        ref = expression.ref
        if isinstance(ref, MemoryRef):
            return _cut(self._in_memory[ref], box)
        sizes = _sizes(box)
        dtype, size = to_torch(ref.dtype), dtype_size(ref.dtype)
        if math.prod(sizes) == 0:
            return torch.empty(sizes, dtype=dtype)
        strides = ref.stride or contiguous_strides(ref.shape)
        first = sum(low * stride for (low, _), stride in zip(box, strides, strict=True))
        span = 1 + sum((count - 1) * stride for count, stride in zip(sizes, strides, strict=True))
        if span > math.prod(sizes) and span * size > PIECE_BYTES:
            dim = max(range(len(box)), key=lambda dim: strides[dim] if sizes[dim] > 1 else -1)
            low, high = box[dim]
            middle = (low + high) // 2
            halves = [_with(box, dim, (low, middle)), _with(box, dim, (middle, high))]
            return torch.cat([self._read(expression, half) for half in halves], dim=dim)
        data = self._read_bytes(ref.file, ref.offset + first * size, span * size)
        return data.view(dtype).as_strided(sizes, strides)

    def _read_bytes(self, path: Path, offset: int, size: int) -> "torch.Tensor":
        import torch

        if path not in self._files:
            self._files[path] = self._stack.enter_context(path.open("rb", buffering=0))
        descriptor = self._files[path].fileno()
        data = torch.empty(size, dtype=torch.uint8)
        view = bytes_of(data)
        done = 0
        while done < size:
            with with_filename(path):
                count = os.preadv(descriptor, [view[done:]], offset + done)
            if count == 0:
                raise SourceError(f"{path} ended while it was read. Is it still being written?")
            done += count
        return data

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.clear()
        self._stack.close()


def bytes_of(tensor: "torch.Tensor") -> memoryview:
    """The bytes of a contiguous tensor on the CPU, which share its memory."""
    import torch

    array: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def have_equal_bits(one: Expression, other: Expression) -> bool:
    """Whether two expressions have the same dtype, shape and bits. Reads in pieces."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    with Evaluator() as evaluator:
        return all(have_same_bits(left, right) for left, right in evaluator.pairs(one, other))


def _bytes_per_element(expression: Expression) -> int:
    """The maximum memory for an element while it is computed."""
    size = dtype_size(expression.dtype)
    if isinstance(expression, BlockScaled | Unpack):
        size += _SCALING_BYTES
    return max((size, *map(_bytes_per_element, operands(expression))))


def _fast_limit(expression: Expression) -> int:
    """The size of pieces that is fast, in bytes."""
    return PIECE_BYTES if _changes_order(expression) else _SMALL_PIECE_BYTES


def _changes_order(expression: Expression) -> bool:
    return isinstance(expression, Permute) or any(map(_changes_order, operands(expression)))


def _boxes(shape: Shape, limit: int) -> Iterator[Box]:
    """Divides a tensor into boxes of at most ``limit`` elements, in row-major order."""
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    if row > limit:
        for index in range(shape[0]):
            for box in _boxes(shape[1:], limit):
                yield ((index, index + 1), *box)
        return
    step = max(1, limit // max(1, row))
    full = tuple((0, size) for size in shape[1:])
    for start in range(0, shape[0], step):
        yield ((start, min(start + step, shape[0])), *full)


def _enclosing(limits: tuple[int, int], step: int) -> tuple[int, int]:
    """The numbers of the blocks that contain a range."""
    low, high = limits
    return (low // step, -(-high // step)) if low < high else (0, 0)


def _sizes(box: Box) -> Shape:
    return tuple(high - low for low, high in box)


def _with(box: Box, dim: int, limits: tuple[int, int]) -> Box:
    return (*box[:dim], limits, *box[dim + 1 :])


def _cut(tensor: "torch.Tensor", box: Box) -> "torch.Tensor":
    return tensor[tuple(slice(low, high) for low, high in box)]
