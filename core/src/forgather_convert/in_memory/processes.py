"""The processes that hold a sharded model, and how they agree."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from forgather_convert.errors import ProcessError, first_line

if TYPE_CHECKING:
    import torch

_Value = TypeVar("_Value")


@contextmanager
def losses() -> Iterator[None]:
    """Reports the loss of another process, which ends communication with it.

    Raises:
        ProcessError: One was lost.
    """
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            f"A process that holds a part of the model was lost: {first_line(error)}. Nothing was "
            "written."
        ) from error


@dataclass(frozen=True)
class Processes:
    """The processes that hold parts of a model; just this one if it is not sharded.

    Every method but :attr:`is_first` is called by all of them, in the same order.

    Attributes:
        rank: The number of this process, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of(cls, tensors: "Iterable[torch.Tensor]") -> "Processes":
        """The processes that tensors are divided among: all of the default group."""
        import torch.distributed as dist
        from torch.distributed.tensor import DTensor

        if not any(isinstance(tensor, DTensor) for tensor in tensors):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """The value of the first process."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        values = [value]
        with losses():
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.count
        with losses():
            dist.all_gather_object(values, value)
        return values

    def in_first(self, make: Callable[[], _Value]) -> _Value | None:
        """What the first process makes; ``None`` in others, which wait for it.

        Raises:
            ProcessError: The first process failed; there, its error is raised.
        """
        value, error = None, None
        if self.is_first:
            try:
                value = make()
            except BaseException as failure:
                error = failure
        self.agree(error)
        return value

    def from_first(self, make: Callable[[], _Value]) -> _Value:
        """What the first process makes, in all processes.

        Raises:
            ProcessError: The first process failed; there, its error is raised.
        """
        made: _Value = self.broadcast(self.in_first(make))
        return made

    def agree(self, error: BaseException | None) -> None:
        """Continues if no process has failed.

        Raises:
            ProcessError: Another process failed.
            BaseException: The given error.
        """
        texts = self.collect(None if error is None else first_line(error) or type(error).__name__)
        if error is not None:
            raise error
        for rank, text in enumerate(texts):
            if text is not None:
                raise ProcessError(f"Process {rank} failed: {text}")
