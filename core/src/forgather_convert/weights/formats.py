"""The formats of weights that core reads, each as a part that answers ``open_weights``."""

from collections.abc import Callable, Mapping
from pathlib import Path

from forgather_convert.families.hookspecs import hookimpl
from forgather_convert.weights.checkpoint import Checkpoint, find_weights, open_checkpoint
from forgather_convert.weights.distributed_checkpoint import (
    DISTRIBUTED,
    find_distributed,
    open_distributed,
)
from forgather_convert.weights.file_names import INDEX_FILE, PYTORCH, SAFETENSORS, SINGLE_FILE

#: Opens the weights of a directory; ``None`` if there are none of a known format.
OpenWeights = Callable[[Path], Checkpoint | None]


class WholeTensors:
    """A format of core's whose files hold whole tensors.

    Args:
        name: :data:`SAFETENSORS` or :data:`PYTORCH`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @hookimpl
    def open_weights(self, directory: Path) -> Checkpoint | None:
        weights = find_weights(directory, (self._name,))
        return None if weights is None else open_checkpoint(weights)


class DistributedParts:
    """The format of torch.distributed.checkpoint, whose files hold parts of tensors."""

    @hookimpl
    def open_weights(self, directory: Path) -> Checkpoint | None:
        weights = find_distributed(directory)
        return None if weights is None else open_distributed(weights)


#: In the order in which they are registered: the last is asked first, as transformers does.
CORE_FORMATS: Mapping[str, WholeTensors | DistributedParts] = {
    DISTRIBUTED: DistributedParts(),
    PYTORCH: WholeTensors(PYTORCH),
    SAFETENSORS: WholeTensors(SAFETENSORS),
}


def open_core_weights(directory: Path) -> Checkpoint | None:
    """Opens weights of one of core's formats."""
    parts = reversed([*CORE_FORMATS.values()])
    opened = (part.open_weights(directory) for part in parts)
    return next((checkpoint for checkpoint in opened if checkpoint is not None), None)


def has_weights(directory: Path) -> bool:
    """Whether a directory has weights by the names of its files; they may be damaged."""
    names = (*SINGLE_FILE.values(), *INDEX_FILE.values())
    return any((directory / name).is_file() for name in names) or bool(find_distributed(directory))
