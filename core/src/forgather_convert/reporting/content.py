"""The content of a report."""

import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forgather_convert.api import ConversionResult
from forgather_convert.inspection.components import COMPONENTS, component_of
from forgather_convert.inspection.tensor_groups import group_tensors, name_pattern
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.reporting.objects import operation_of, result_object
from forgather_convert.source.detection import Direction

_PACKAGES = ("forgather-convert", "torch", "transformers", "safetensors")
_HUB_PREFIX = "models--"


def report_content(result: ConversionResult, warnings: Sequence[str]) -> dict[str, Any]:
    """The content of a report as JSON: :func:`result_object` and more.

    Only the names of directories appear, not their paths: reports are meant to be published.
    """
    plan = result.plan
    return {
        **result_object(result, warnings),
        "source": model_name(plan.source),
        "destination": plan.destination.name,
        "checkpoint": model_name(plan.checkpoint),
        "versions": {
            **{package: version(package) for package in _PACKAGES},
            "python": platform.python_version(),
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "parameters": sum(math.prod(tensor.shape) for tensor in plan.tensors),
        "components": _components(plan),
        "config": [{**asdict(field), "changed": field.is_changed} for field in plan.config_fields],
        "tensors": [asdict(row) for row in tensor_table(plan.tensors)],
    }


def model_name(directory: Path) -> str:
    """A model's name: the directory's, or ``org/name@commit`` in the Hub cache."""
    directory = directory.absolute()
    model = directory.parent.parent.name
    if directory.parent.name == "snapshots" and model.startswith(_HUB_PREFIX):
        return f"{model.removeprefix(_HUB_PREFIX).replace('--', '/')}@{directory.name}"
    return directory.name


def _components(plan: ConversionPlan) -> dict[str, dict[str, int]]:
    """The numbers of parameters and bytes of each component that has any."""
    sizes = {name: {"parameters": 0, "bytes": 0} for name in COMPONENTS}
    for tensor in plan.tensors:
        size = sizes[component_of(_forgather_name(tensor, plan.direction))]
        size["parameters"] += math.prod(tensor.shape)
        size["bytes"] += tensor.num_bytes
    return {name: size for name, size in sizes.items() if size["parameters"]}


def _forgather_name(tensor: TensorPlan, direction: Direction) -> str:
    if direction is Direction.FROM_FORGATHER and tensor.sources:
        return tensor.sources[0].name
    return tensor.name


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
