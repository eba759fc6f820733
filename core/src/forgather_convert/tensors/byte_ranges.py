"""Finds expressions that can be evaluated by copying bytes from files."""

import math
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.tensors.dtypes import dtype_size
from forgather_convert.tensors.expressions import (
    Concatenate,
    Expression,
    Permute,
    Reshape,
    Slice,
    Stored,
    leaves,
)
from forgather_convert.tensors.tensor_ref import MemoryRef


@dataclass(frozen=True)
class ByteRange:
    """Consecutive bytes of a file.

    Attributes:
        file: The file.
        offset: Where they begin, in bytes.
        size: The number of bytes.
    """

    file: Path
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def byte_ranges(expression: Expression) -> tuple[ByteRange, ...] | None:
    """The byte ranges that, concatenated, are an expression's elements in row-major order.

    Returns:
        ``None`` if the expression has to be computed.
    """
    match expression:
        case Stored(ref):
            if ref.stride is not None or isinstance(ref, MemoryRef):
                return None
            return (ByteRange(ref.file, ref.offset, ref.num_bytes),) if ref.num_bytes else ()
        case Reshape(value, _):
            return byte_ranges(value)
        case Permute(value, dims):
            moved = [dim for dim in dims if value.shape[dim] != 1]
            return byte_ranges(value) if moved == sorted(moved) else None
        case Slice(value, dim, start, length):
            whole = byte_ranges(value)
            if whole is None or math.prod(value.shape[:dim]) != 1:
                return None
            row = math.prod(value.shape[dim + 1 :]) * dtype_size(value.dtype)
            return _part(whole, start * row, length * row)
        case Concatenate(values, dim):
            if math.prod(expression.shape[:dim]) != 1:
                return None
            parts = [byte_ranges(value) for value in values]
            joined: list[ByteRange] = []
            for part in parts:
                if part is None:
                    return None
                joined += part
            return merged(joined)
    return None


def put_together(expression: Expression) -> Expression:
    """The stored tensor itself, if an expression puts all of its parts together again."""
    ranges = byte_ranges(expression)
    refs = leaves(expression)
    if ranges is None or len(ranges) != 1 or len({*refs}) != 1:
        return expression
    ref, (place,) = refs[0], ranges
    is_whole = (place.offset, place.size) == (ref.offset, ref.num_bytes)
    return Stored(ref) if is_whole and ref.shape == expression.shape else expression


def merged(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """The same bytes, with adjacent ranges of a file merged."""
    result: list[ByteRange] = []
    for part in ranges:
        last = result[-1] if result else None
        if last is not None and last.file == part.file and last.end == part.offset:
            result[-1] = ByteRange(last.file, last.offset, last.size + part.size)
        else:
            result.append(part)
    return tuple(result)


def _part(ranges: tuple[ByteRange, ...], start: int, size: int) -> tuple[ByteRange, ...]:
    """Bytes ``start`` to ``start + size`` of concatenated ranges."""
    result = []
    position = 0
    for part in ranges:
        low = max(start, position)
        high = min(start + size, position + part.size)
        if low < high:
            result.append(ByteRange(part.file, part.offset + low - position, high - low))
        position += part.size
    return tuple(result)
