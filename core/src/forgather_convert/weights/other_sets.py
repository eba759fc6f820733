"""Finds other sets of weights in a directory, any of which a loader may take for the model's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.lfs_pointer import is_lfs_pointer
from forgather_convert.weights.checkpoint import (
    Checkpoint,
    WeightsFiles,
    indexed_file_names,
    open_checkpoint,
    weights_at,
)
from forgather_convert.weights.distributed_checkpoint import (
    DISTRIBUTED,
    find_distributed,
    open_distributed,
)
from forgather_convert.weights.file_names import INDEX_FILE, PYTORCH, SAFETENSORS, SINGLE_FILE

_FORMATS = (SAFETENSORS, PYTORCH)


@dataclass(frozen=True)
class OtherSet:
    """Weights beside the chosen ones, not opened yet.

    Attributes:
        path: The file that a loader starts with: the only one, or the index.
        format: The format.
    """

    path: Path
    format: str

    def open(self) -> Checkpoint:
        """Reads its headers.

        Raises:
            SourceError: It is damaged or incomplete.
        """
        if self.format == DISTRIBUTED:
            files = find_distributed(self.path.parent)
            assert files is not None
            return open_distributed(files)
        return open_checkpoint(weights_at(self.path, self.format))


def first_file(files: WeightsFiles) -> Path:
    """The file that a loader starts with: the index, or the only file."""
    return files.shards[0] if files.index is None else files.index


def other_sets(chosen: WeightsFiles) -> tuple[OtherSet, ...]:
    """All other weights in the directory of the chosen ones.

    Sets with nothing to load are left out: an index that was downloaded without its files, and Git
    LFS pointers. A broken link is included, since its target may have been meant.
    """
    if chosen.format not in (*_FORMATS, DISTRIBUTED):
        # The weights of an extension; only it knows which files belong to them.
        return ()
    return tuple(_others(chosen))


def _others(chosen: WeightsFiles) -> Iterator[OtherSet]:
    directory = chosen.directory
    for weights_format in _FORMATS:
        for name in (SINGLE_FILE[weights_format], INDEX_FILE[weights_format]):
            path = directory / name
            if path != first_file(chosen) and os.path.lexists(path):
                files = _files_of(path)
                if files != {*chosen.shards} and not all(map(_is_empty, files)):
                    yield OtherSet(path, weights_format)
    if chosen.format != DISTRIBUTED:
        distributed = find_distributed(directory)
        if distributed is not None:
            yield OtherSet(first_file(distributed), DISTRIBUTED)


def _files_of(path: Path) -> set[Path]:
    """The files with the tensors; for an index that cannot be read, the index itself."""
    if path.name not in INDEX_FILE.values():
        return {path}
    try:
        return {path.parent / name for name in indexed_file_names(path)}
    except (SourceError, OSError):
        return {path}


def _is_empty(path: Path) -> bool:
    return not os.path.lexists(path) or (path.is_file() and is_lfs_pointer(path))
