"""The destination: a path that is resolved once, and whether it may be written."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.readable_weights import ADAPTER_CONFIG_FILE

#: A complete directory of a model or an adapter has one of these.
_LAST_WRITTEN = (CONFIG_FILE, ADAPTER_CONFIG_FILE)


@dataclass(frozen=True)
class Destination:
    """The resolved destination, which check, staging and commit share.

    Attributes:
        parent: Its parent directory: absolute, without links and ``..``. It may not exist yet.
        name: Its name. If a link has this name, it is not followed.
        given: The path that the user gave, for messages.
    """

    parent: Path
    name: str
    given: Path = field(compare=False)

    @property
    def path(self) -> Path:
        return self.parent / self.name

    def __str__(self) -> str:
        if Path(os.path.abspath(self.given)) == self.path:
            return str(self.given)
        return f"{self.given} ({self.path})"


def resolve_destination(path: Path) -> Destination:
    """Resolves a path as the kernel does.

    ``link/..`` is the parent of the link's target. A trailing slash or ``/.`` changes nothing:
    ``link/`` is the link itself.

    Raises:
        DestinationError: There can be no directory with this path.
    """
    missing: list[str] = []
    try:
        if path.name in ("", os.pardir):
            # It ends in "..", or is "." or "/", so it must exist.
            path.stat()
            resolved = Path(os.path.realpath(path, strict=True))
            existing, name = resolved.parent, resolved.name
        else:
            existing, missing = _resolve_parent(path.parent)
            name = path.name
        if not name:
            raise DestinationError(
                f"The destination {path} is the root directory. Choose another path."
            )
        for part in (*missing, name):
            # Detects impossible names, such as too long ones, also of directories to be created.
            _status(existing / part)
    except OSError as error:
        raise DestinationError(
            f"The destination {path} cannot be used: {error.strerror}. Choose another path."
        ) from error
    except ValueError as error:
        raise DestinationError(
            f"The destination {str(path)!r} is not a valid path: {error}. Choose another path."
        ) from error
    return Destination(existing.joinpath(*missing), name, path)


def check_destination(source: Path, destination: Destination, overwrite: bool) -> None:
    """Refuses a destination that must not be written. Called at the start and at the end.

    Raises:
        DestinationError: It is inside the source, or the source inside it; or it exists and may
            not be replaced.
    """
    real_source = Path(os.path.realpath(source))
    real_destination = Path(os.path.realpath(destination.path))
    if real_source == real_destination:
        raise DestinationError(
            f"The destination {destination} is the source itself. Choose another path."
        )
    if real_source in real_destination.parents:
        raise DestinationError(
            f"The destination {destination} is inside the source {source}. Choose another path."
        )
    if real_destination in real_source.parents:
        raise DestinationError(
            f"The source {source} is inside the destination {destination}. Choose another path."
        )
    try:
        status = _status(destination.path)
    except OSError as error:
        raise DestinationError(
            f"The destination {destination} cannot be used: {error.strerror}. Choose another path."
        ) from error
    if status is None:
        return
    if not overwrite:
        raise DestinationError(
            f"The destination {destination} exists. Choose another path, or use --overwrite to "
            "replace it."
        )
    check_replaceable(destination, destination.path)


def check_replaceable(destination: Destination, path: Path) -> None:
    """Refuses to replace anything but an empty directory, or a model or adapter without
    checkpoints.

    Args:
        destination: The destination, for messages.
        path: Where the directory is now: at the destination, or already moved away.

    Raises:
        DestinationError: It must be kept.
    """
    if path.is_symlink():
        raise DestinationError(
            f"The destination {destination} is a symbolic link, so --overwrite does not replace "
            "it. Give the directory itself, or remove the link."
        )
    is_empty = path.is_dir() and not any(path.iterdir())
    if not is_empty and not any((path / name).is_file() for name in _LAST_WRITTEN):
        raise DestinationError(
            f"The destination {destination} is not a model directory (it has no {CONFIG_FILE}), so "
            "--overwrite does not replace it. Remove it yourself if it is not needed."
        )
    checkpoints = training_checkpoints(path)
    if checkpoints:
        raise DestinationError(
            f"The destination {destination} contains training checkpoints "
            f"({', '.join(checkpoints)}), so --overwrite does not replace it. Remove it yourself "
            "if it is not needed."
        )


def training_checkpoints(directory: Path) -> list[str]:
    """The names of all training checkpoints in a directory and its subdirectories.

    Raises:
        OSError: A directory cannot be read.
    """
    return sorted(
        name
        for _, directories, files in os.walk(directory, onerror=_raise)
        for name in (*directories, *files)
        if name.startswith("checkpoint-")
    )


def _raise(error: OSError) -> None:
    raise error


def _resolve_parent(parent: Path) -> tuple[Path, list[str]]:
    """Resolves the existing part of a path; returns it and the names of the missing part."""
    missing: list[str] = []
    current = parent
    while not os.path.lexists(current):
        missing.insert(0, current.name)
        current = current.parent
    if os.pardir in missing:
        raise DestinationError(
            f"{parent} names a directory through {current / missing[0]}, which does not exist. "
            "Choose a path without '..'."
        )
    try:
        real = Path(os.path.realpath(current, strict=True))
    except FileNotFoundError:
        raise DestinationError(
            f"{current} is a link to a path that does not exist. Choose another path."
        ) from None
    if not real.is_dir():
        raise DestinationError(f"{current} is not a directory. Choose another path.")
    return real, missing


def _status(path: Path) -> os.stat_result | None:
    """The status of a path, links not followed; ``None`` if nothing exists there.

    Raises:
        OSError: Nothing can exist there, for example because the name is too long.
    """
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
