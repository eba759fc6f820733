"""The weights formats that core reads."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from forgather_convert.weights.checkpoint import Checkpoint, find_weights, open_checkpoint
from forgather_convert.weights.distributed_checkpoint import (
    DISTRIBUTED,
    find_distributed,
    open_distributed,
)
from forgather_convert.weights.file_names import INDEX_FILE, PYTORCH, SAFETENSORS, SINGLE_FILE
from forgather_convert.weights.linked_files import LINKS_FILE, open_linked

#: Opens the weights of a directory; ``None`` if there are none of a known format.
OpenWeights = Callable[[Path], Checkpoint | None]


def _open_whole_tensors(format_name: str, directory: Path) -> Checkpoint | None:
    weights = find_weights(directory, (format_name,))
    return None if weights is None else open_checkpoint(weights)


def _open_distributed(directory: Path) -> Checkpoint | None:
    weights = find_distributed(directory)
    return None if weights is None else open_distributed(weights)


#: The functions that open each format; the last one has precedence, as in transformers.
FORMATS: Mapping[str, OpenWeights] = {
    # Last of all: they do not count if the model was saved after a training.
    "links": open_linked,
    DISTRIBUTED: _open_distributed,
    PYTORCH: partial(_open_whole_tensors, PYTORCH),
    SAFETENSORS: partial(_open_whole_tensors, SAFETENSORS),
}


def open_core_weights(directory: Path) -> Checkpoint | None:
    """Opens weights in one of core's formats."""
    opened = (open_format(directory) for open_format in reversed([*FORMATS.values()]))
    return next((checkpoint for checkpoint in opened if checkpoint is not None), None)


def has_weights(directory: Path) -> bool:
    """Whether a directory has weights, judging by file names; they may be damaged."""
    names = (*SINGLE_FILE.values(), *INDEX_FILE.values())
    return any((directory / name).is_file() for name in (*names, LINKS_FILE)) or bool(
        find_distributed(directory)
    )
