"""The tensors of a plan in few rows: those of the layers as one."""

from collections.abc import Iterable
from dataclasses import dataclass

from forgather_convert.inspection.tensor_groups import group_tensors, name_pattern
from forgather_convert.planning.plan import TensorPlan
from forgather_convert.reporting.objects import operation_of


@dataclass(frozen=True)
class TensorRow:
    """Tensors that are made in the same way.

    Attributes:
        names: Their names, those that differ in numbers as one.
        count: How many they are.
        dtype: Their dtype.
        shape: Their shape.
        operation: What makes them.
        sources: The names of what they are made of, in the same form.
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
        names=tuple(found.name for found in group_tensors(group)),
        count=len(group),
        dtype=first.dtype,
        shape=first.shape,
        operation=operation_of(first),
        sources=tuple(
            found.name for found in group_tensors(ref for item in group for ref in item.sources)
        ),
    )
