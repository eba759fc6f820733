"""The operations of weight mappings. Each knows its inverse, and both are exact.

An operation turns the sources of its inputs into the sources of its outputs. Where the
first dimension is cut or joined, ranges of bytes are all that is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import MappingError
from forgather_convert.tensors.tensor_source import TensorSource
from forgather_convert.tensors.transforms import Interleave, Join, Narrow, Swap
from forgather_convert.weights.tensor_ref import format_shape

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Rename:
    """One tensor under another name."""

    def inverse(self) -> "Rename":
        return self

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        return list(inputs)


@dataclass(frozen=True)
class Split:
    """One tensor is cut into several; the model tells their sizes."""

    dim: int = 0

    def inverse(self) -> "Concatenate":
        return Concatenate(self.dim)

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        (source,) = inputs
        sizes = [shape[self.dim] for shape in shapes]
        if sum(sizes) != source.shape[self.dim]:
            raise MappingError(
                f"'{source.inputs[0].name}' has the shape {format_shape(source.shape)}, but is to "
                f"be cut into {' + '.join(map(str, sizes))} in dimension {self.dim}. Check that "
                "config and weights belong to the same model."
            )
        parts = []
        start = 0
        for size in sizes:
            if self.dim == 0 and source.is_copy:
                parts.append(source.rows(start, size))
            else:
                shape = list(source.shape)
                shape[self.dim] = size
                transform = Narrow(self.dim, start, size)
                parts.append(TensorSource(source.inputs, tuple(shape), source.dtype, transform))
            start += size
        return parts


@dataclass(frozen=True)
class Concatenate:
    """Several tensors become one, behind each other."""

    dim: int = 0

    def inverse(self) -> Split:
        return Split(self.dim)

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        refs = _joined_refs(inputs)
        shape = list(inputs[0].shape)
        shape[self.dim] = sum(source.shape[self.dim] for source in inputs)
        is_copy = self.dim == 0 and all(source.is_copy for source in inputs)
        transform = None if is_copy else Join(self.dim)
        return [TensorSource(refs, tuple(shape), inputs[0].dtype, transform)]


@dataclass(frozen=True)
class Stack:
    """A numbered series of tensors becomes one, with a new first dimension."""

    over: str

    def inverse(self) -> "Unstack":
        return Unstack(self.over)

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        refs = _joined_refs(inputs)
        shape = (len(inputs), *inputs[0].shape)
        if all(source.is_copy for source in inputs):
            return [TensorSource(refs, shape, inputs[0].dtype)]
        # Behind each other in memory, too: the shape tells the new dimension.
        return [TensorSource(refs, shape, inputs[0].dtype, Join(0))]


@dataclass(frozen=True)
class Unstack:
    """One tensor becomes a numbered series, without its first dimension."""

    over: str

    def inverse(self) -> Stack:
        return Stack(self.over)

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        (source,) = inputs
        parts = []
        for index in range(source.shape[0]):
            if source.is_copy:
                row = source.rows(index, 1)
            else:
                row = TensorSource(source.inputs, (), source.dtype, Narrow(0, index, 1))
            parts.append(TensorSource(row.inputs, source.shape[1:], row.dtype, row.transform))
        return parts


@dataclass(frozen=True)
class Transpose:
    """Two dimensions are exchanged."""

    dim0: int = 0
    dim1: int = 1

    def inverse(self) -> "Transpose":
        return self

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        (source,) = inputs
        shape = list(source.shape)
        shape[self.dim0], shape[self.dim1] = shape[self.dim1], shape[self.dim0]
        transform = Swap(self.dim0, self.dim1)
        return [TensorSource(source.inputs, tuple(shape), source.dtype, transform)]


@dataclass(frozen=True)
class PermuteHeads:
    """The rows of each head change between the halves and the interleaved layout of RoPE.

    Attributes:
        heads: The config field with the number of heads.
        to_pairs: Whether the outcome is interleaved.
    """

    heads: str
    to_pairs: bool = True

    def inverse(self) -> "PermuteHeads":
        return PermuteHeads(self.heads, not self.to_pairs)

    def outputs(
        self, inputs: Sequence[TensorSource], shapes: Shapes, config: Mapping[str, Any]
    ) -> list[TensorSource]:
        (source,) = inputs
        transform = Interleave(config[self.heads], self.to_pairs)
        return [TensorSource(source.inputs, source.shape, source.dtype, transform)]


TensorOperation = Rename | Split | Concatenate | Stack | Unstack | Transpose | PermuteHeads


def _joined_refs(inputs: Sequence[TensorSource]) -> tuple[Any, ...]:
    dtypes = {source.dtype for source in inputs}
    if len(dtypes) > 1:
        names = ", ".join(f"'{source.inputs[0].name}'" for source in inputs)
        raise MappingError(
            f"{names} become one tensor, but are stored as {' and '.join(sorted(dtypes))}. Use "
            "a checkpoint that stores them alike."
        )
    return tuple(ref for source in inputs for ref in source.inputs)
