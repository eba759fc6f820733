"""Finds the parts of quantized tensors by the ends of their names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forgather_convert.errors import SourceError
from forgather_convert.tensors.expressions import BlockScaled, Expression, Reshape, stored
from forgather_convert.tensors.tensor_ref import TensorRef


@dataclass(frozen=True)
class Parts:
    """The stored parts of one quantized tensor.

    Attributes:
        stem: What the names of its parts begin with.
        numbers: The part with the quantized numbers.
        tensors: All tensors of the checkpoint.
    """

    stem: str
    numbers: TensorRef
    tensors: Mapping[str, TensorRef]

    def find(self, end: str) -> TensorRef | None:
        """The part whose name ends like this, if there is one."""
        return self.tensors.get(self.stem + end)

    def get(self, end: str) -> TensorRef:
        """The part whose name ends like this.

        Raises:
            SourceError: It is missing.
        """
        return require(self.tensors, self.stem + end, self.numbers)


@dataclass(frozen=True)
class Layout:
    """The names of the parts of a format's quantized tensors, and how they are put together.

    Attributes:
        numbers: The end of the name of the part with the numbers.
        tensor: The end of the dequantized tensor's name instead. If it is the same, only tensors
            with a scale are quantized.
        scale: The end of the name of the part with the scales, which every quantized tensor has.
        others: The ends of the names of further parts.
        dequantize: Puts the parts together.
    """

    numbers: str
    tensor: str
    scale: str
    others: tuple[str, ...]
    dequantize: Callable[[Parts], Expression]

    def owns(self, name: str, tensors: Mapping[str, TensorRef]) -> bool:
        """Whether a tensor is a part of a quantized one, besides its numbers."""
        return any(
            name.endswith(end) and name.removesuffix(end) + self.numbers in tensors
            for end in (self.scale, *self.others)
        )

    def find(self, ref: TensorRef, tensors: Mapping[str, TensorRef]) -> Parts | None:
        """The parts of the quantized tensor whose numbers ``ref`` has; ``None`` if it has none."""
        stem = ref.name.removesuffix(self.numbers)
        if not ref.name.endswith(self.numbers):
            return None
        if self.numbers == self.tensor and stem + self.scale not in tensors:
            return None
        return Parts(stem, ref, tensors)


def dequantize_parts(
    tensors: Mapping[str, TensorRef], layouts: Sequence[Layout], dropped: tuple[str, ...] = ()
) -> dict[str, Expression]:
    """A checkpoint's tensors, with the quantized ones put together.

    Args:
        tensors: The stored tensors.
        layouts: How the parts of quantized ones are named.
        dropped: The ends of names of tensors that only a quantized model uses.

    Raises:
        SourceError: A part of a quantized tensor is missing.
    """
    result: dict[str, Expression] = {}
    for name, ref in tensors.items():
        if name.endswith(dropped) or any(layout.owns(name, tensors) for layout in layouts):
            continue
        for layout in layouts:
            if name.endswith(layout.scale):
                require(tensors, name.removesuffix(layout.scale) + layout.numbers, ref)
            parts = layout.find(ref, tensors)
            if parts is not None:
                result[parts.stem + layout.tensor] = layout.dequantize(parts)
                break
        else:
            result[name] = stored(ref)
    return result


def require(tensors: Mapping[str, TensorRef], name: str, other: TensorRef) -> TensorRef:
    """A part of a quantized tensor.

    Raises:
        SourceError: It is missing.
    """
    if name not in tensors:
        raise SourceError(
            f"{other.file} has '{other.name}', one part of a quantized tensor, but the other part, "
            f"'{name}', is missing. Download the model again."
        )
    return tensors[name]


def scaled(
    value: Expression,
    scales: Expression,
    dtype: str,
    block: tuple[int, int] | None = None,
    arithmetic: str = "float32",
) -> BlockScaled:
    """A matrix, multiplied by scales for the whole, for its rows, or for blocks of it.

    Args:
        value: The numbers.
        scales: The scales.
        dtype: The dtype of the result.
        block: The rows and columns of a block; by default, they follow from the scales.
        arithmetic: The dtype of the product.
    """
    rank, grid = len(value.shape), scales.shape
    if block is None and rank > 1:
        if grid in ((), (1,)):
            grid = (1,) * rank
        elif len(grid) == 1 and rank == 2 and grid[0] == value.shape[0]:
            grid = (grid[0], 1)
        scales = Reshape(scales, grid)
    if block is None:
        rows, columns = value.shape[-2:] if rank > 1 else (1, 1)
        counts = grid[-2:] if len(grid) > 1 else (1, 1)
        block = (max(1, rows // max(1, counts[0])), max(1, columns // max(1, counts[1])))
    return BlockScaled(value, scales, block, dtype, arithmetic)
