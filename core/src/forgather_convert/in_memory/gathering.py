"""Gathers sharded tensors, one after another, each in the process that needs it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from forgather_convert.in_memory.processes import Processes, losses
from forgather_convert.tensors.expressions import Expression, leaves
from forgather_convert.tensors.tensor_ref import MemoryRef

if TYPE_CHECKING:
    import torch
    from torch.distributed.tensor import DTensor

_Item = TypeVar("_Item")
#: The values of tensors in memory, by their references.
Values = Mapping[MemoryRef, "torch.Tensor"]


@dataclass(frozen=True)
class Step(Generic[_Item]):
    """Something that is made of tensors in memory.

    Attributes:
        item: What it is.
        expressions: What it is made of.
        rank: The process that makes it; ``None`` if all do.
    """

    item: _Item
    expressions: tuple[Expression, ...]
    rank: int | None = None

    @property
    def refs(self) -> tuple[MemoryRef, ...]:
        """The tensors in memory that it is made of."""
        return tuple(
            ref
            for expression in self.expressions
            for ref in leaves(expression)
            if isinstance(ref, MemoryRef)
        )


class Gathering:
    """The tensors of a model, any of which may be divided among processes.

    A tensor that is not divided is given as it is, without a copy.

    Args:
        tensors: The tensors, by their names.
        processes: The processes.
        device: Where gathered tensors are; by default, where their parts are.
    """

    def __init__(
        self,
        tensors: "Mapping[str, torch.Tensor]",
        processes: Processes,
        device: "torch.device | None" = None,
    ) -> None:
        from torch.distributed.tensor import DTensor

        self._tensors = tensors
        self._processes = processes
        self._device = device
        sharded = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, DTensor)}
        own = {name: own_box(tensor) for name, tensor in sharded.items()}
        self._boxes = processes.collect(own) if sharded else []

    def run(self, steps: "Sequence[Step[_Item]]") -> "Iterator[tuple[_Item, Values | None]]":
        """Takes steps in order, in all processes; the values are ``None`` in those that only help.

        A value is kept until the last step of its process that needs it.
        """
        uses = Counter((step.rank, ref) for step in steps for ref in {*step.refs})
        held: dict[tuple[int | None, MemoryRef], torch.Tensor | None] = {}
        for step in steps:
            refs = {ref: (step.rank, ref) for ref in step.refs}
            for ref, key in refs.items():
                if key not in held:
                    with losses():
                        held[key] = self._gathered(ref.name, step.rank)
            values = None
            if step.rank in (None, self._processes.rank):
                values = {ref: held[key] for ref, key in refs.items()}
            yield step.item, values  # type: ignore[misc]
            for key in refs.values():
                uses[key] -= 1
                if not uses[key]:
                    del held[key]

    def _gathered(self, name: str, rank: int | None) -> "torch.Tensor | None":
        from torch.distributed.tensor import DTensor

        tensor = self._tensors[name]
        if not isinstance(tensor, DTensor):
            return tensor
        if rank is None:
            return tensor.full_tensor()
        return self._sent(tensor, [boxes[name] for boxes in self._boxes], rank)

    def _sent(
        self, tensor: "DTensor", boxes: "Sequence[Box | None]", rank: int
    ) -> "torch.Tensor | None":
        """Sends the parts of a tensor to one process."""
        import torch
        import torch.distributed as dist

        local, own = tensor.to_local(), boxes[self._processes.rank]
        # Where the processes' backend can send it from, wherever parameters are kept.
        channel = tensor.device_mesh.device_type
        if self._processes.rank != rank:
            if own is not None:
                dist.send(_bytes(local.to(channel)), rank)
            return None
        whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device or local.device)
        for source, box in enumerate(boxes):
            if box is None:
                continue
            part = local
            if source != rank:
                part = torch.empty(box.sizes, dtype=tensor.dtype, device=channel)
                dist.recv(_bytes(part), source)
            whole[box.slices].copy_(part)
        return whole


@dataclass(frozen=True)
class Box:
    """The part of a tensor that a process has.

    Attributes:
        starts: Where it begins in each dimension.
        sizes: Its dimensions.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(
            slice(start, start + size) for start, size in zip(self.starts, self.sizes, strict=True)
        )


def own_box(tensor: "DTensor", with_replicas: bool = False) -> Box | None:
    """The part of a tensor that this process has; ``None`` if that is nothing.

    Args:
        tensor: The tensor.
        with_replicas: Whether each process with the same part has it, and not only the first one.
    """
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None or 0 in tensor.to_local().shape:
        return None
    if not with_replicas and any(
        index
        for index, placement in zip(coordinate, tensor.placements, strict=True)
        if placement.is_replicate()
    ):
        return None
    sizes, starts = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    return Box(tuple(starts), tuple(sizes))


def _bytes(tensor: "torch.Tensor") -> "torch.Tensor":
    """The bytes of a tensor, since not every backend sends every dtype."""
    import torch

    return tensor.contiguous().view(-1).view(torch.uint8)


def steps_by_tensor(steps: "Iterable[Step[_Item]]", order: Iterable[str]) -> "list[Step[_Item]]":
    """Puts steps in the order of the tensors that they are made of.

    What is made of one tensor comes in a row, so that few are held at a time.
    """
    positions = {name: position for position, name in enumerate(order)}
    return sorted(
        steps, key=lambda step: min((positions[ref.name] for ref in step.refs), default=-1)
    )
