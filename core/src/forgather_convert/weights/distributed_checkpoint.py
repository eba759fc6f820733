"""Distributed checkpoints: several processes each wrote their own parts of the tensors.

They are directories with ``.metadata`` and ``*.distcp`` files, written by
torch.distributed.checkpoint. A file contains parts one after the other, each an archive of
``torch.save``. Nothing is merged on the disk: a tensor is represented by the file ranges of its
parts.
"""

import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.files.lfs_pointer import refuse_lfs_pointer
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape
from forgather_convert.weights.checkpoint import Checkpoint, Shard, WeightsFiles
from forgather_convert.weights.distributed_metadata import (
    METADATA_FILE,
    SavedChunk,
    SavedTensor,
    read_metadata,
)
from forgather_convert.weights.tiling import Tile, TilingError, join
from forgather_convert.weights.torch_archive import describe, locate, open_archive

DISTRIBUTED = "distributed"
_FILES = "*.distcp"
#: The subdirectory in which accelerate and transformers' Trainer save a model's parts.
_ACCELERATE_DIRECTORY = "pytorch_model_fsdp_*"
#: The key under which a model is saved beside its optimizer.
_MODEL_KEY = "model"
#: How much is read at once: an archive contains little besides its tensor's bytes.
_BUFFER = 4096
_MAX_NAMES = 5


def find_distributed(directory: Path) -> WeightsFiles | None:
    """Finds a distributed checkpoint in a directory, or in accelerate's subdirectory.

    Raises:
        SourceError: There are several.
    """
    candidates = [directory, *sorted(directory.glob(_ACCELERATE_DIRECTORY))]
    directories = [path for path in candidates if (path / METADATA_FILE).is_file() and _files(path)]
    if not directories:
        return None
    if len(directories) > 1:
        names = ", ".join(str(path) for path in directories[:_MAX_NAMES])
        raise SourceError(
            f"{directory} has the distributed checkpoints of several models: {names}. Choose one "
            "with --checkpoint-path."
        )
    (parts,) = directories
    return WeightsFiles(directory, DISTRIBUTED, _files(parts), parts / METADATA_FILE)


def open_distributed(files: WeightsFiles) -> Checkpoint:
    """Locates all parts of a model's tensors.

    Raises:
        SourceError: Something is damaged or missing, the parts of a tensor are incomplete, or it
            is unclear which of the tensors belong to the model.
    """
    path = files.directory / METADATA_FILE if files.index is None else files.index
    tensors = _model_tensors(read_metadata(path), path)
    tiles = _locate_tiles(tensors, path.parent)
    shards: dict[Path, list[TensorRef]] = {file: [] for file in files.shards}
    for name, tensor in tensors.items():
        try:
            ref = join(tiles[name], tensor.shape)
        except (TilingError, RecursionError) as error:
            raise SourceError(
                f"The parts of '{name}' that {path} lists do not make up a tensor "
                f"{format_shape(tensor.shape)}: {error}. The checkpoint is damaged; save it again."
            ) from error
        shards.setdefault(ref.file, []).append(ref)
    return Checkpoint(files, tuple(Shard(file, tuple(refs), None) for file, refs in shards.items()))


def _files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob(_FILES)))


def _model_tensors(saved: Iterable[SavedTensor], path: Path) -> Mapping[str, SavedTensor]:
    """The model's tensors by their names, without the keys that lead to the model.

    The checkpoint may also contain an optimizer; then the model is under the key ``model``.
    """
    models: dict[tuple[str, ...], dict[str, SavedTensor]] = defaultdict(dict)
    for tensor in saved:
        models[tensor.path[:-1]][tensor.path[-1]] = tensor
    chosen = [keys for keys in models if keys[-1:] == (_MODEL_KEY,)]
    if len(models) > 1 and len(chosen) != 1:
        names = ", ".join(repr(".".join(keys)) for keys in [*models][:_MAX_NAMES])
        raise SourceError(
            f"{path} has tensors under several keys ({names}); it is unclear which belong to the "
            f"model. Save the model alone, or under the key '{_MODEL_KEY}'."
        )
    if not models:
        raise SourceError(f"{path} has no tensors. Save the model's state_dict().")
    return models[chosen[0]] if len(models) > 1 else next(iter(models.values()))


def _locate_tiles(tensors: Mapping[str, SavedTensor], directory: Path) -> Mapping[str, list[Tile]]:
    """The parts of all tensors, file by file."""
    by_file: dict[str, list[tuple[str, SavedTensor, SavedChunk]]] = defaultdict(list)
    for name, tensor in tensors.items():
        for chunk in tensor.chunks:
            by_file[chunk.file_name].append((name, tensor, chunk))
    tiles: dict[str, list[Tile]] = defaultdict(list)
    reader = _PartReader()
    for file_name, parts in by_file.items():
        path = directory / file_name
        if not path.is_file():
            raise SourceError(
                f"{directory / METADATA_FILE} names {file_name}, which does not exist: some "
                "process had not saved its parts yet, or a file was not copied. Copy all of the "
                "checkpoint's files."
            )
        refuse_lfs_pointer(path)
        with with_filename(path), path.open("rb") as file:
            for name, tensor, chunk in sorted(parts, key=lambda part: part[2].start):
                ref = reader.read(path, file, name, chunk)
                if (ref.dtype, ref.shape) != (tensor.dtype, chunk.shape):
                    raise SourceError(
                        f"{path} belongs to another checkpoint than {directory / METADATA_FILE}: a "
                        f"part of '{name}' is {ref.dtype} {format_shape(ref.shape)} instead of "
                        f"{tensor.dtype} {format_shape(chunk.shape)}. Copy the checkpoint again."
                    )
                tiles[name].append(Tile(chunk.origin, ref))
    return tiles


class _PartReader:
    """Locates the bytes of parts; identical pickles are interpreted only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, tuple[str, ...]], Any] = {}

    def read(self, path: Path, file: BinaryIO, name: str, chunk: SavedChunk) -> TensorRef:
        import torch

        end = chunk.start + chunk.size
        size = path.stat().st_size
        if end > size:
            raise SourceError(
                f"{path} is truncated: a part of '{name}' would end at byte {end}, but the file "
                f"has {size}. Copy the checkpoint again."
            )
        archive = open_archive(
            path,
            io.BufferedReader(FileRange(file, chunk.start, chunk.size), _BUFFER),
        )
        key = (archive.pickled, tuple(archive.storages))
        if key not in self._known:
            self._known[key] = describe(path, archive)
        tensor = self._known[key]
        if not isinstance(tensor, torch.Tensor):
            raise SourceError(f"{path} has no tensor where a part of '{name}' should be.")
        return locate(path, name, tensor, archive, chunk.start)


class FileRange(io.RawIOBase):
    """Consecutive bytes of a file that is open for reading; does not move the file's position."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._descriptor = file.fileno()
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        count = os.preadv(self._descriptor, [view], self._start + self._position) if view else 0
        self._position += count
        return count
