"""A directory that appears complete or not at all."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.source.config_file import CONFIG_FILE

logger = logging.getLogger(__name__)

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]

_LOCK_FILE = ".lock"
#: In a staging directory: the new model, and the one that it replaces.
_CONTENT = "model"
_REPLACED = "replaced"


def check_destination(source: Path, destination: Path, overwrite: bool) -> None:
    """Refuses a destination that cannot or must not be written.

    Raises:
        DestinationError: It exists, or lies in the source, or the source in it.
    """
    real_source, real_destination = source.resolve(), destination.resolve()
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
    if not os.path.lexists(destination):
        return
    if not overwrite:
        raise DestinationError(
            f"The destination {destination} exists. Choose another place, or use --overwrite to "
            "replace it."
        )
    is_empty = destination.is_dir() and not any(destination.iterdir())
    if destination.is_symlink() or not (is_empty or (destination / CONFIG_FILE).is_file()):
        raise DestinationError(
            f"The destination {destination} is not a model directory (it has no {CONFIG_FILE}), so "
            "that --overwrite does not replace it. Remove it yourself if it is not needed."
        )
    checkpoints = sorted(path.name for path in destination.glob("**/checkpoint-*"))
    if checkpoints:
        raise DestinationError(
            f"The destination {destination} holds training checkpoints ({', '.join(checkpoints)}), "
            "so that --overwrite does not replace it. Remove it yourself if it is not needed."
        )


@contextmanager
def staging_directory(destination: Path) -> Iterator[Path]:
    """Gives an empty directory beside the destination; it is removed at the end.

    What earlier conversions to the same destination left, because they were killed, is
    removed first.

    Raises:
        DestinationError: The place cannot be written.
    """
    destination = Path(os.path.abspath(destination))
    created = _create_parents(destination.parent)
    prefix = f".{destination.name}.partial-"
    staging = None
    lock = None
    try:
        _clean_up_abandoned(destination, prefix)
        try:
            staging = Path(tempfile.mkdtemp(prefix=prefix, dir=destination.parent))
        except OSError as error:
            raise DestinationError(
                f"{destination.parent} cannot be written: {error.strerror}. Choose another place."
            ) from error
        lock = _lock(staging)
        content = staging / _CONTENT
        content.mkdir()
        yield content
    finally:
        if staging is not None:
            _dispose(staging, destination)
        if lock is not None:
            os.close(lock)
        for parent in created:
            # Only what is still empty: the model may be in it.
            if not any(parent.iterdir()):
                parent.rmdir()


def commit(staged: Path, destination: Path, overwrite: bool) -> None:
    """Moves a complete directory to its place, when all of it is on the disk.

    A directory that is replaced stays in the staging directory until the new one is in its
    place; whatever happens in between, it is put back.

    Raises:
        DestinationError: The destination has appeared in the meantime.
    """
    destination = Path(os.path.abspath(destination))
    for path in staged.iterdir():
        _fsync(path)
    _fsync(staged)
    try:
        if os.path.lexists(destination):
            if not overwrite:
                raise DestinationError(
                    f"The destination {destination} has appeared during the conversion and was "
                    "left alone. Choose another place, or use --overwrite."
                )
            destination.rename(staged.parent / _REPLACED)
        staged.rename(destination)
    except OSError as error:
        raise DestinationError(
            f"The model cannot be moved to {destination}: {error.strerror}. Choose another place."
        ) from error
    _fsync(destination.parent)


def _dispose(staging: Path, destination: Path) -> None:
    """Removes a staging directory; a model that it has replaced without success goes back."""
    replaced = staging / _REPLACED
    if os.path.lexists(replaced) and not os.path.lexists(destination):
        replaced.rename(destination)
    shutil.rmtree(staging, ignore_errors=True)


def _create_parents(parent: Path) -> list[Path]:
    """Creates a directory and those above it; gives the new ones, the deepest first."""
    missing = []
    current = parent
    while not current.exists():
        missing.append(current)
        current = current.parent
    if not current.is_dir():
        raise DestinationError(f"{current} is not a directory. Choose another place.")
    created: list[Path] = []
    for path in reversed(missing):
        try:
            path.mkdir()
        except OSError as error:
            for done in created:
                done.rmdir()
            raise DestinationError(
                f"{path} cannot be created: {error.strerror}. Choose another place."
            ) from error
        created.insert(0, path)
    return created


def _lock(staging: Path) -> int | None:
    """Marks a staging directory as in use, for as long as this process lives."""
    descriptor = os.open(staging / _LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _clean_up_abandoned(destination: Path, prefix: str) -> None:
    if fcntl is None:
        return
    for path in destination.parent.iterdir():
        if not path.name.startswith(prefix):
            continue
        try:
            descriptor = os.open(path / _LOCK_FILE, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            logger.info("Removing what an interrupted conversion left: %s", path)
            _dispose(path, destination)
        finally:
            os.close(descriptor)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
