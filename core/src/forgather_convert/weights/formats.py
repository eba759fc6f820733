"""The formats of weights that core reads, each as a part that answers ``open_weights``."""

from collections.abc import Callable
from pathlib import Path

from forgather_convert.families.hookspecs import hookimpl
from forgather_convert.weights.checkpoint import (
    PYTORCH,
    SAFETENSORS,
    Checkpoint,
    find_weights,
    open_checkpoint,
)

#: Opens the weights of a directory; ``None`` if there are none of a known format.
OpenWeights = Callable[[Path], Checkpoint | None]


class WeightsFormat:
    """One of core's formats.

    Args:
        name: :data:`SAFETENSORS` or :data:`PYTORCH`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @hookimpl
    def open_weights(self, directory: Path) -> Checkpoint | None:
        weights = find_weights(directory, (self._name,))
        return None if weights is None else open_checkpoint(weights)


#: In the order in which they are registered: the last is asked first, as transformers does.
CORE_FORMATS = {name: WeightsFormat(name) for name in (PYTORCH, SAFETENSORS)}


def open_core_weights(directory: Path) -> Checkpoint | None:
    """Opens weights of one of core's formats."""
    weights = find_weights(directory)
    return None if weights is None else open_checkpoint(weights)
