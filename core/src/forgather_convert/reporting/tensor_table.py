"""The tensors of a plan in a short table: those repeated in every layer share a row."""

from collections.abc import Iterable
from dataclasses import dataclass

from forgather_convert.inspection.tensor_groups import group_tensors, name_pattern
from forgather_convert.planning.plan import TensorPlan
from forgather_convert.reporting.objects import operation_of


@dataclass(frozen=True)
class TensorRow:
    """Tensors that are made in the same way.

    Attributes:
        names: Their names; names that differ only in numbers are combined.
        count: How many there are.
        dtype: Their dtype.
        shape: Their shape.
        operation: How they are made.
        sources: The names of the source tensors, combined in the same way.
    """

    names: tuple[str, ...]
    count: int
    dtype: str
    shape: tuple[int, ...]
    operation: str
    sources: tuple[str, ...]


def tensor_table(tensors: Iterable[TensorPlan]) -> tuple[TensorRow, ...]:
    """Groups tensors, in the order of the first of each group."""
    alike: dict[tuple[object, ...], list[TensorPlan]] = {}
    for tensor in tensors:
        sources = frozenset(name_pattern(ref.name) for ref in tensor.sources)
        name, operation = name_pattern(tensor.name), operation_of(tensor)
        key = (name, tensor.dtype, tensor.shape, operation, sources)
        alike.setdefault(key, []).append(tensor)
    return tuple(_row(group) for group in alike.values())


def _row(group: list[TensorPlan]) -> TensorRow:
    first = group[0]
    return TensorRow(
        names=tuple(tensors.name for tensors in group_tensors(group)),
        count=len(group),
        dtype=first.dtype,
        shape=first.shape,
        operation=operation_of(first),
        sources=tuple(
            tensors.name for tensors in group_tensors(ref for item in group for ref in item.sources)
        ),
    )
