"""Reads the ``.metadata`` of a distributed checkpoint, which locates the parts of its tensors.

The format is that of torch.distributed.checkpoint (``metadata.py`` and ``filesystem.py``
there): a pickle of ``Metadata``. torch's own reader would run any code that the pickle names.
Here everything that it can name is replaced by something inert: torch's classes by classes
that only store their arguments, and that are created anew for each file.
"""

import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.files.lfs_pointer import refuse_lfs_pointer
from forgather_convert.files.plain_text import is_plain, one_line

METADATA_FILE = ".metadata"
#: The maximum size in bytes, enough for 3 million parts.
_MAX_SIZE = 1 << 30
_MODULE = "torch.distributed.checkpoint."
#: The names in a pickle of torch: classes, and functions that make values that are not used.
_RECORDS = {
    (_MODULE + "metadata", "Metadata"),
    (_MODULE + "metadata", "TensorStorageMetadata"),
    (_MODULE + "metadata", "BytesStorageMetadata"),
    (_MODULE + "metadata", "TensorProperties"),
    (_MODULE + "metadata", "ChunkStorageMetadata"),
    (_MODULE + "metadata", "MetadataIndex"),
    (_MODULE + "metadata", "StorageMeta"),
    (_MODULE + "metadata", "_MEM_FORMAT_ENCODING"),
    (_MODULE + "filesystem", "_StorageInfo"),
    # Before torch 2.3.
    ("torch.distributed._shard.sharded_tensor.metadata", "TensorProperties"),
    ("torch.distributed._shard.sharded_tensor.metadata", "MEM_FORMAT_ENCODING"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib._local", "PosixPath"),
}
_SAVE_AGAIN = "Save the checkpoint again with torch.distributed.checkpoint.save."

#: The maximum length of a foreign message that is quoted.
_LONGEST = 200

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class SavedChunk:
    """A part of a tensor, written by one process.

    Attributes:
        origin: Where it begins in the tensor.
        shape: Its dimensions.
        file_name: The file that contains it.
        start: Where it begins in the file, in bytes.
        size: The number of bytes that it takes in the file.
    """

    origin: Sizes
    shape: Sizes
    file_name: str
    start: int
    size: int


@dataclass(frozen=True)
class SavedTensor:
    """A tensor of a distributed checkpoint.

    Attributes:
        path: The keys that lead to it in the saved dictionary: ``("model", "lm_head.weight")``.
        dtype: Its element type.
        shape: Its dimensions.
        chunks: Its parts; empty parts are left out, unless the tensor itself is empty.
    """

    path: tuple[str, ...]
    dtype: str
    shape: Sizes
    chunks: tuple[SavedChunk, ...]


def read_metadata(path: Path) -> tuple[SavedTensor, ...]:
    """Reads the tensors from a ``.metadata`` file.

    Raises:
        SourceError: It is damaged, or names anything that torch does not write there.
    """
    refuse_lfs_pointer(path)
    size = path.stat().st_size
    if size > _MAX_SIZE:
        raise _damaged(path, f"it has {size} bytes")
    with with_filename(path):
        content = path.read_bytes()
    try:
        metadata = _Unpickler(io.BytesIO(content)).load()
        return tuple(_tensors(metadata))
    except _NotAllowedError as error:
        asked_for = one_line(str(error))[:_LONGEST]
        raise SourceError(
            f"{path} was not read: it names {asked_for!r}, which is not a part of a distributed "
            f"checkpoint's metadata. {_SAVE_AGAIN}"
        ) from error
    # The unpickler's exceptions for damaged pickles are not documented.
    except Exception as error:
        problem = one_line(str(error))[:_LONGEST]
        raise _damaged(path, f"{type(error).__name__}: {problem}") from error


class _NotAllowedError(Exception):
    pass


class _Record:
    """An object as the pickle describes it.

    Attributes:
        state: Its attributes.
    """

    def __init__(self, *arguments: object) -> None:
        self.state: Any = {}

    def __setstate__(self, state: object) -> None:
        self.state = state


# The Python version: the C one allocates memory for any memo index that a file names.
class _Unpickler(pickle._Unpickler):
    """Creates only inert values: containers, numbers, strings and records."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._classes: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key == ("torch", "Size"):
            return tuple
        if module == "torch" and name.isidentifier():
            # A dtype.
            return name
        if key not in _RECORDS:
            raise _NotAllowedError(f"{module}.{name}")
        if key not in self._classes:
            # A file could set attributes of a class, too.
            self._classes[key] = type(name, (_Record,), {})
        return self._classes[key]

    def persistent_load(self, pid: object) -> Any:
        raise _NotAllowedError("a persistent object")

    def get_extension(self, code: int) -> None:
        raise _NotAllowedError(f"the registered extension {code}")


def _tensors(metadata: Any) -> Iterator[SavedTensor]:
    _require(_is(metadata, "Metadata"), "it is not the metadata of a checkpoint")
    entries, paths = metadata.state["state_dict_metadata"], metadata.state.get("planner_data")
    places = _places(metadata.state["storage_data"])
    for name, entry in entries.items():
        if _is(entry, "BytesStorageMetadata"):
            continue
        _require(_is(entry, "TensorStorageMetadata"), f"{name!r} is no tensor")
        keys = paths.get(name, (name,)) if isinstance(paths, dict) else (name,)
        _require(
            isinstance(keys, tuple) and len(keys) > 0 and is_plain(name),
            f"{name!r} has no plain name",
        )
        path = tuple(map(str, keys))
        _require(all(map(is_plain, path)), f"{name!r} has no plain name")
        properties = entry.state["properties"]
        _require(_is(properties, "TensorProperties"), f"{name!r} has no dtype")
        dtype = properties.state[0]
        shape = _sizes(entry.state["size"], name)
        has_elements = 0 not in shape
        chunks = []
        for chunk in entry.state["chunks"]:
            _require(_is(chunk, "ChunkStorageMetadata"), f"{name!r} has no parts")
            origin = _sizes(chunk.state["offsets"], name)
            sizes = _sizes(chunk.state["sizes"], name)
            # If there are more processes than rows, the last ones have no rows.
            if has_elements and 0 in sizes:
                continue
            location = places.get((name, origin))
            if location is None:
                raise ValueError(f"the part of {name!r} at {origin} is in no file")
            chunks.append(SavedChunk(origin, sizes, *location))
        _require(isinstance(dtype, str) and len(chunks) > 0, f"{name!r} has no parts or no dtype")
        yield SavedTensor(path, dtype, shape, tuple(chunks))


def _places(storage: Any) -> Mapping[tuple[str, Sizes], tuple[str, int, int]]:
    """File name, start and size of every part, by its tensor's name and its origin."""
    places = {}
    for index, info in storage.items():
        _require(_is(index, "MetadataIndex") and _is(info, "_StorageInfo"), "it names no files")
        offset = index.state.get("offset")
        if offset is None:
            continue
        name, file_name = index.state["fqn"], info.state["relative_path"]
        start, size = info.state["offset"], info.state["length"]
        _require(
            isinstance(file_name, str)
            and Path(file_name).name == file_name
            and is_plain(file_name)
            and len(file_name.encode("utf-8")) < 256,
            f"{file_name!r} is not the name of a file beside it",
        )
        _require(
            type(start) is int and type(size) is int and start >= 0 and size > 0,
            f"{name!r} has no place in {file_name}",
        )
        if info.state.get("transform_descriptors"):
            raise ValueError(f"{name!r} is compressed or encoded, which is not supported")
        places[name, _sizes(offset, name)] = (file_name, start, size)
    return places


def _sizes(value: Any, name: str) -> Sizes:
    _require(
        type(value) is tuple and all(type(size) is int and size >= 0 for size in value),
        f"{name!r} has sizes that are no whole numbers",
    )
    sizes: Sizes = value
    return sizes


def _is(value: object, name: str) -> bool:
    return isinstance(value, _Record) and type(value).__name__ == name


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _damaged(path: Path, problem: str) -> SourceError:
    return SourceError(
        f"{path} is not the metadata of a distributed checkpoint, or is damaged ({problem}). "
        f"{_SAVE_AGAIN}"
    )
