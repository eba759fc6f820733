"""Weights files of another directory that a Forgather model links to.

The tensors in them have the names of the original; a file beside the links says what the model
calls them. Neither transformers nor any other loader takes the links for the model's own weights,
or writes to them: only the model's code knows of them. If the directory also has weights of its
own, after a training, these count.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState
from forgather_convert.files.json_file import read_json_object
from forgather_convert.files.plain_text import is_plain
from forgather_convert.weights.checkpoint import Checkpoint, Shard, WeightsFiles
from forgather_convert.weights.file_names import SAFETENSORS
from forgather_convert.weights.safetensors_file import read_header

LINKS_FILE = "forgather_links.index.json"
_PREFIX = "linked-"
_VERSION = 1


@dataclass(frozen=True)
class LinkedFile:
    """A weights file of the original.

    Attributes:
        source: Its path when it was linked.
        state: Its state when it was linked.
        names: The model's names of its tensors, by their names in the file.
    """

    source: Path
    state: FileState
    names: Mapping[str, str]


def link_name(file_name: str) -> str:
    """The name of the link to a file."""
    return _PREFIX + file_name


def links_content(files: Mapping[str, LinkedFile]) -> bytes:
    """The content of the file beside the links."""
    content = {
        "format_version": _VERSION,
        "files": {
            name: {
                "source": str(file.source),
                "size": file.state.size,
                "modified": file.state.modified,
                "names": dict(file.names),
            }
            for name, file in files.items()
        },
    }
    return (json.dumps(content, indent=1) + "\n").encode("utf-8")


def read_links(directory: Path) -> Mapping[str, LinkedFile]:
    """The linked files of a model, by the names of the links; empty if it has none.

    Raises:
        SourceError: The file beside the links is damaged.
    """
    path = directory / LINKS_FILE
    if not path.is_file():
        return {}
    content = read_json_object(path)
    try:
        if content["format_version"] != _VERSION:
            raise ValueError("another version")
        files = {name: _linked_file(entry) for name, entry in content["files"].items()}
        if not all(_is_link_name(name) for name in files):
            raise ValueError("another name")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} is damaged. Convert the original again, with --link or without."
        ) from error
    return files


def _is_link_name(name: str) -> bool:
    return is_plain(name) and name.startswith(_PREFIX) and Path(name).name == name


def _linked_file(entry: Mapping[str, Any]) -> LinkedFile:
    size, modified, names = entry["size"], entry["modified"], entry["names"]
    if type(size) is not int or type(modified) is not int:
        raise TypeError("no state")
    if not all(is_plain(name) and is_plain(own) for name, own in names.items()):
        raise ValueError("no names")
    return LinkedFile(Path(entry["source"]), FileState(size, modified), names)


def open_linked(directory: Path) -> Checkpoint | None:
    """Opens linked weights by the model's names; ``None`` if there are none.

    Raises:
        SourceError: A file has changed since it was linked, or is gone.
    """
    files = read_links(directory)
    if not files:
        return None
    problem = changed_links(directory, files)
    if problem:
        raise SourceError(problem)
    shards = []
    for name, file in files.items():
        header = read_header(directory / name)
        refs = tuple(
            ref.renamed(file.names[ref.name]) for ref in header.tensors if ref.name in file.names
        )
        shards.append(Shard(directory / name, refs, header))
    places = tuple(shard.path for shard in shards)
    weights = WeightsFiles(directory, SAFETENSORS, places, directory / LINKS_FILE)
    return Checkpoint(weights, tuple(shards))


def changed_links(directory: Path, files: Mapping[str, LinkedFile]) -> str:
    """What has happened to linked files since; empty if nothing has."""
    for name, file in files.items():
        path = directory / name
        try:
            state = FileState.of(path)
        except OSError:
            where = f"{file.source} was removed, or moved" if path.is_symlink() else "was removed"
            return (
                f"{path} links to the weights of {file.source.parent}, but {where}. Put it back, "
                "or convert the original again."
            )
        if state != file.state:
            return (
                f"{path} links to {file.source}, which has changed since the conversion. Convert "
                "the original again."
            )
    return ""
