"""Where the result goes: a path that is resolved once, and whether it may be written."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.readable_weights import ADAPTER_CONFIG_FILE

#: What a complete directory of a model or an adapter has.
_LAST_WRITTEN = (CONFIG_FILE, ADAPTER_CONFIG_FILE)


@dataclass(frozen=True)
class Destination:
    """The place of the result; check, staging and commit all mean this one.

    Attributes:
        parent: The directory that holds it: absolute, without links and ``..``. It and those
            above it may not exist yet.
        name: Its name in there. What has this name may be a link; links are not followed.
        given: The path as the user wrote it, for messages.
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
    """Finds out which place a path names, as the kernel does.

    ``link/..`` is the parent of the directory that the link leads to. A slash or ``/.`` at the
    end changes nothing: ``link/`` is the link itself.

    Raises:
        DestinationError: It names no place where a directory can be.
    """
    missing: list[str] = []
    try:
        if path.name in ("", os.pardir):
            # It ends in "..", or is "." or "/": only what exists can be named so.
            path.stat()
            place = Path(os.path.realpath(path, strict=True))
            existing, name = place.parent, place.name
        else:
            existing, missing = _resolve_parent(path.parent)
            name = path.name
        if not name:
            raise DestinationError(
                f"The destination {path} is the root directory. Choose another place."
            )
        for part in (*missing, name):
            # Finds names that cannot be, too long ones say, also of directories to be created.
            _status(existing / part)
    except OSError as error:
        raise DestinationError(
            f"The destination {path} cannot be used: {error.strerror}. Choose another place."
        ) from error
    except ValueError as error:
        raise DestinationError(
            f"The destination {str(path)!r} is no path: {error}. Choose another place."
        ) from error
    return Destination(existing.joinpath(*missing), name, path)


def check_destination(source: Path, destination: Destination, overwrite: bool) -> None:
    """Refuses a destination that must not be written. Called at the start and at the end.

    Raises:
        DestinationError: It lies in the source, or the source in it; or it exists and may not
            be replaced.
    """
    real_source = Path(os.path.realpath(source))
    real_destination = Path(os.path.realpath(destination.path))
    if real_source == real_destination:
        raise DestinationError(
            f"The destination {destination} is the source itself. Choose another place."
        )
    if real_source in real_destination.parents:
        raise DestinationError(
            f"The destination {destination} is inside the source {source}. Choose another place."
        )
    if real_destination in real_source.parents:
        raise DestinationError(
            f"The source {source} is inside the destination {destination}. Choose another place."
        )
    try:
        status = _status(destination.path)
    except OSError as error:
        raise DestinationError(
            f"The destination {destination} cannot be used: {error.strerror}. Choose another place."
        ) from error
    if status is None:
        return
    if not overwrite:
        raise DestinationError(
            f"The destination {destination} exists. Choose another place, or use --overwrite to "
            "replace it."
        )
    check_replaceable(destination, destination.path)


def check_replaceable(destination: Destination, path: Path) -> None:
    """Refuses to replace what is no model or adapter without checkpoints, and not empty.

    Args:
        destination: What the message names.
        path: Where it is now: at the destination, or already moved away from there.

    Raises:
        DestinationError: It must be kept.
    """
    if path.is_symlink():
        raise DestinationError(
            f"The destination {destination} is a symbolic link, so that --overwrite does not "
            "replace it. Give the directory itself, or remove the link."
        )
    is_empty = path.is_dir() and not any(path.iterdir())
    if not is_empty and not any((path / name).is_file() for name in _LAST_WRITTEN):
        raise DestinationError(
            f"The destination {destination} is not a model directory (it has no {CONFIG_FILE}), so "
            "that --overwrite does not replace it. Remove it yourself if it is not needed."
        )
    checkpoints = training_checkpoints(path)
    if checkpoints:
        raise DestinationError(
            f"The destination {destination} holds training checkpoints ({', '.join(checkpoints)}), "
            "so that --overwrite does not replace it. Remove it yourself if it is not needed."
        )


def training_checkpoints(directory: Path) -> list[str]:
    """The names of the checkpoints that a training has left in a directory or below it.

    Raises:
        OSError: A directory cannot be looked through.
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
    """Follows the links of those directories that exist; gives them and the names of the rest."""
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
            f"{current} is a link to a place that does not exist. Choose another place."
        ) from None
    if not real.is_dir():
        raise DestinationError(f"{current} is not a directory. Choose another place.")
    return real, missing


def _status(path: Path) -> os.stat_result | None:
    """What is at a path, links not followed; ``None`` if there is nothing.

    Raises:
        OSError: Nothing can be there: the name is too long, for example.
    """
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
