"""Joins the parts of a tensor that was divided in any of its dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

from forgather_convert.tensors.tensor_ref import JoinedRef, TensorRef


class TilingError(Exception):
    """The parts do not make up the tensor."""


@dataclass(frozen=True)
class Tile:
    """A part of a tensor.

    Attributes:
        origin: Where it begins in the tensor.
        ref: The location of its bytes.
    """

    origin: tuple[int, ...]
    ref: TensorRef

    def end(self, dim: int) -> int:
        """Where it ends in a dimension."""
        return self.origin[dim] + self.ref.shape[dim]


def join(tiles: Sequence[Tile], shape: tuple[int, ...]) -> TensorRef:
    """Joins parts into a tensor, in one dimension or in several in turn.

    Raises:
        TilingError: Parts overlap, there are holes, or no straight cut separates them.
    """
    if any(len(tile.origin) != len(shape) or len(tile.ref.shape) != len(shape) for tile in tiles):
        raise TilingError("a part has another number of dimensions")
    return _join(tiles, (0,) * len(shape), shape)


def _join(tiles: Sequence[Tile], origin: tuple[int, ...], shape: tuple[int, ...]) -> TensorRef:
    if len(tiles) == 1:
        (tile,) = tiles
        if (tile.origin, tile.ref.shape) != (origin, shape):
            raise TilingError(f"a part of it, in {tile.ref.file}, has the wrong size")
        return tile.ref
    for dim in range(len(shape)):
        groups = _divided(tiles, dim)
        if len(groups) == 1:
            continue
        parts = []
        position, end = origin[dim], origin[dim] + shape[dim]
        starts = [group[0].origin[dim] for group in groups]
        for group, start, stop in zip(groups, starts, (*starts[1:], end), strict=True):
            if start != position:
                raise TilingError(f"elements {position} to {start} of dimension {dim} are missing")
            inner_origin = (*origin[:dim], start, *origin[dim + 1 :])
            inner_shape = (*shape[:dim], stop - start, *shape[dim + 1 :])
            parts.append(_join(group, inner_origin, inner_shape))
            position = stop
        first = parts[0]
        return JoinedRef(
            first.name, first.dtype, shape, first.file, first.offset, parts=tuple(parts), dim=dim
        )
    raise TilingError("parts of it overlap, or no straight cut separates them")


def _divided(tiles: Sequence[Tile], dim: int) -> list[list[Tile]]:
    """Groups of parts that do not overlap in a dimension, in order."""
    groups: list[list[Tile]] = []
    end = -1
    for tile in sorted(tiles, key=lambda tile: (tile.origin[dim], tile.end(dim))):
        if tile.origin[dim] >= end:
            groups.append([])
        groups[-1].append(tile)
        end = max(end, tile.end(dim))
    return groups
