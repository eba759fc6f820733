"""The weights of a directory: files, index and tensors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState, states_of
from forgather_convert.files.json_file import read_json_object
from forgather_convert.files.lfs_pointer import refuse_lfs_pointer
from forgather_convert.files.plain_text import is_plain, one_line
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.file_names import INDEX_FILE, PYTORCH, SAFETENSORS, SINGLE_FILE
from forgather_convert.weights.pytorch_file import read_tensor_refs
from forgather_convert.weights.safetensors_file import SafetensorsHeader, read_header


@dataclass(frozen=True)
class Shard:
    """A weights file, with its header if it has one."""

    path: Path
    tensors: tuple[TensorRef, ...]
    header: SafetensorsHeader | None


@dataclass(frozen=True)
class WeightsFiles:
    """The weights files of a directory, before their tensors are read.

    Attributes:
        directory: The directory.
        format: :data:`SAFETENSORS`, :data:`PYTORCH`, or the name of another format.
        shards: The files.
        index: The index, if there is one.
        states: The states of the files when they were found, before anything was read.
    """

    directory: Path
    format: str
    shards: tuple[Path, ...]
    index: Path | None
    states: Mapping[Path, FileState] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", states_of(self.paths))

    @property
    def paths(self) -> frozenset[Path]:
        """All files, including the index."""
        return frozenset(self.shards) | (frozenset() if self.index is None else {self.index})


@dataclass(frozen=True)
class Checkpoint:
    """All tensors of a model, with their locations.

    Attributes:
        files: The weights files.
        shards: Every file with its tensors.
    """

    files: WeightsFiles
    shards: tuple[Shard, ...]

    @cached_property
    def tensors(self) -> Mapping[str, TensorRef]:
        """Every tensor by its name."""
        return {ref.name: ref for shard in self.shards for ref in shard.tensors}


def find_weights(
    directory: Path, formats: Iterable[str] = (SAFETENSORS, PYTORCH)
) -> WeightsFiles | None:
    """Finds a directory's weights like transformers; ``None`` if there are none.

    Raises:
        SourceError: An index is damaged, or names a file outside the directory or one
            that does not exist.
    """
    for weights_format in formats:
        for name in (SINGLE_FILE[weights_format], INDEX_FILE[weights_format]):
            if (directory / name).is_file():
                return weights_at(directory / name, weights_format)
    return None


def weights_at(path: Path, weights_format: str) -> WeightsFiles:
    """The weights that start with a file: an index, or the only file.

    Raises:
        SourceError: An index is damaged, or names a file outside the directory or one
            that does not exist.
    """
    if path.name != INDEX_FILE[weights_format]:
        return WeightsFiles(path.parent, weights_format, (path,), None)
    shards = tuple(_shard_path(path, name) for name in indexed_file_names(path))
    return WeightsFiles(path.parent, weights_format, shards, path)


def indexed_file_names(index: Path) -> list[str]:
    """The names of all files in an index, even if they do not exist.

    Raises:
        SourceError: It is damaged.
    """
    return sorted(set(_read_weight_map(index).values()))


def open_checkpoint(files: WeightsFiles) -> Checkpoint:
    """Reads the headers of all files and checks them against the index.

    Raises:
        SourceError: A file is damaged, or the index does not match the files.
    """
    shards = tuple(_open_shard(path, files.format) for path in files.shards)
    places: dict[str, Path] = {}
    for shard in shards:
        for ref in shard.tensors:
            if not is_plain(ref.name):
                raise SourceError(
                    f"{shard.path} has a tensor whose name has control characters: "
                    f"'{one_line(ref.name)}'. Save it under another name."
                )
            if ref.name in places:
                raise SourceError(
                    f"'{ref.name}' is both in {places[ref.name]} and in {shard.path}."
                )
            places[ref.name] = shard.path
    if files.index is None:
        return Checkpoint(files, shards)

    for name, file_name in _read_weight_map(files.index).items():
        if name not in places or places[name].name != file_name:
            raise SourceError(
                f"{files.index} says that '{name}' is in {file_name}, but it is not. "
                "The files are incomplete or from two models. Download them again."
            )
    return Checkpoint(files, shards)


def _open_shard(path: Path, weights_format: str) -> Shard:
    refuse_lfs_pointer(path)
    if weights_format == SAFETENSORS:
        header = read_header(path)
        return Shard(path, header.tensors, header)
    return Shard(path, read_tensor_refs(path), None)


def _read_weight_map(index: Path) -> Mapping[str, str]:
    try:
        weight_map = read_json_object(index)["weight_map"]
        if not weight_map or not all(
            is_plain(name) and is_plain(file_name) and len(file_name.encode("utf-8")) < 256
            for name, file_name in weight_map.items()
        ):
            raise ValueError("no names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{index} is not an index of weights: it has no 'weight_map' from tensors to files. "
            "Download it again."
        ) from error
    result: Mapping[str, str] = weight_map
    return result


def _shard_path(index: Path, name: str) -> Path:
    if Path(name).name != name or name in (".", ".."):
        raise SourceError(
            f"{index} names {name!r}, which is outside its directory. "
            "Fix the index, or download it again."
        )
    path = index.parent / name
    if not path.is_file():
        raise SourceError(
            f"{index} names {name}, which does not exist: the download is incomplete. "
            "Download it again."
        )
    return path
