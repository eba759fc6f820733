"""The hidden directory that a result is written to before it appears at the destination."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.execution.atomic_rename import rename_to_free
from forgather_convert.execution.deferred_signals import deferred_signals
from forgather_convert.execution.destination import Destination, training_checkpoints
from forgather_convert.execution.staging_lock import InUseError, LockedDirectory, lock_directory

logger = logging.getLogger(__name__)

_CONTENT = "model"
_MOVED_AWAY = "replaced"
_MARK = ".partial-"
#: A staging directory's name includes at most this many bytes of the destination's name.
_PREFIX_BYTES = 100


@dataclass(frozen=True)
class Staging:
    """A staging directory of a destination.

    Its name is derived from the destination's: a concurrent conversion to the same destination
    finds it locked, and the next conversion after one that was killed finds what that left.

    Attributes:
        destination: The destination.
        directory: The staging directory, beside the destination.
    """

    destination: Destination
    directory: Path

    @property
    def content(self) -> Path:
        """Where the result is written; after an exchange, where the replaced model is."""
        return self.directory / _CONTENT

    @property
    def moved_away(self) -> Path:
        """Where the old model is while the destination is empty, if no atomic exchange is possible.

        It is put back, unless the new model has been moved from :attr:`content` to the destination.
        """
        return self.directory / _MOVED_AWAY / self.destination.name


def staging_path(destination: Destination) -> Path:
    """The staging directory of a destination, with a short name even if the other's is long."""
    name = os.fsencode(destination.name)
    digest = hashlib.sha256(name).hexdigest()[:16]
    prefix = os.fsdecode(name[:_PREFIX_BYTES]) if len(name) > _PREFIX_BYTES else destination.name
    return destination.parent / f".{prefix}{_MARK}{digest}"


@contextmanager
def staging_directory(destination: Destination) -> Iterator[Staging]:
    """Provides a staging directory with an empty directory for the result, and removes it.

    First cleans up after conversions that were killed: old models that they had moved away are
    put back, for this destination and for all others beside it; the rest is removed if it belongs
    to this destination. Nothing in use is touched.

    Raises:
        DestinationError: The directory cannot be written; another conversion writes to the same
            destination; or a model was left behind that can neither be put back nor removed.
    """
    created: list[Path] = []
    lock: LockedDirectory | None = None
    is_ours = False
    staging = Staging(destination, staging_path(destination))
    try:
        with deferred_signals():
            _create_parents(destination.parent, created)
            _put_back_neighbours(staging)
            lock = _take(staging)
            _clean_up_leftover(staging)
            is_ours = True
            _create_content(staging)
        yield staging
    finally:
        # Runs in reverse order; each step runs even if another one fails.
        with deferred_signals(), ExitStack() as stack:
            stack.callback(_remove_empty, created)
            if lock is not None:
                stack.callback(lock.release)
            if is_ours:
                stack.callback(_dispose, staging)


def _take(staging: Staging) -> LockedDirectory:
    try:
        return lock_directory(staging.directory)
    except InUseError as error:
        raise DestinationError(
            f"Another conversion to {staging.destination} is running: {error} Wait for it, or "
            "choose another path. If none is running, remove that directory."
        ) from error
    except OSError as error:
        raise DestinationError(
            f"{staging.destination.parent} cannot be written: {error.strerror} "
            f"({staging.directory.name}). Choose another path."
        ) from error


def _create_content(staging: Staging) -> None:
    try:
        staging.content.mkdir()
    except OSError as error:
        raise DestinationError(
            f"{staging.content} cannot be created: {error.strerror}. Remove {staging.directory}, "
            "or choose another path."
        ) from error


def _clean_up_leftover(staging: Staging) -> None:
    """Empties an abandoned staging directory without losing a model."""
    try:
        put_back(staging.directory)
    except OSError as error:
        raise DestinationError(
            f"An interrupted conversion left the model that was at {staging.destination} in "
            f"{staging.directory / _MOVED_AWAY}. It cannot be put back: {error.strerror}. Move it "
            "somewhere else, or remove it if it is not needed."
        ) from error
    if not os.path.lexists(staging.content):
        return
    # It may be a replaced model that was not removed yet, and passed this check then.
    checkpoints = _checkpoints_in(staging.content)
    if checkpoints:
        raise DestinationError(
            f"An interrupted conversion left training checkpoints ({', '.join(checkpoints)}) "
            f"in {staging.content}. Move them somewhere else, or remove them if they are not "
            "needed."
        )
    logger.info("Removing the leftovers of an interrupted conversion: %s", staging.directory)
    _remove(staging.content)


def _put_back_neighbours(staging: Staging) -> None:
    """Puts back models that killed conversions to neighbouring destinations had moved away."""
    for directory in staging.destination.parent.glob(f".*{_MARK}*"):
        if directory == staging.directory or not (directory / _MOVED_AWAY).is_dir():
            continue
        try:
            lock = lock_directory(directory, create=False)
        except (InUseError, OSError):
            continue
        try:
            put_back(directory)
        except OSError as error:
            logger.warning(
                "An interrupted conversion left a model in %s that cannot be put back: %s. "
                "Move it back yourself.",
                directory / _MOVED_AWAY,
                error.strerror,
            )
        finally:
            lock.release()


def put_back(directory: Path) -> None:
    """Restores to the destination the model that was moved out of it.

    If the new model is at the destination, the old one was replaced, and is left to be removed
    with the staging directory.

    Raises:
        FileExistsError: Something else exists at the destination.
        OSError: The model cannot be moved.
    """
    moved_away = directory / _MOVED_AWAY
    if not moved_away.is_dir():
        return
    content = directory / _CONTENT
    for model in moved_away.iterdir():
        moved_to = directory.parent / model.name
        if not _exists(content) and _exists(moved_to):
            rename_to_free(model, content)
            continue
        rename_to_free(model, moved_to)
        logger.warning(
            "Restored the old model at %s: an interrupted conversion had moved it away.", moved_to
        )
    moved_away.rmdir()


def _exists(path: Path) -> bool:
    """Like ``os.path.lexists``, except that an error is not taken for "no".

    Raises:
        OSError: Whether it exists cannot be determined.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _dispose(staging: Staging) -> None:
    """Removes a staging directory, after putting back an old model that is still in it."""
    try:
        put_back(staging.directory)
        checkpoints = _checkpoints_in(staging.content)
    except OSError as error:
        logger.error(
            "%s cannot be removed: %s. If there is a model in %s, it is the old one that belongs "
            "to %s.",
            staging.directory,
            error.strerror,
            staging.directory / _MOVED_AWAY,
            staging.destination,
        )
        return
    if checkpoints:
        # They appeared at the moment when the model was replaced.
        logger.error(
            "Training checkpoints (%s) are in %s. Move them somewhere else.",
            ", ".join(checkpoints),
            staging.content,
        )
        return
    _remove(staging.content)


def _checkpoints_in(content: Path) -> list[str]:
    """The training checkpoints in a directory that may be a replaced model, or may not exist."""
    return training_checkpoints(content) if content.is_dir() else []


def _remove(path: Path) -> None:
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        is_left = os.path.lexists(path)
    except OSError:
        is_left = True
    if is_left:
        logger.warning("%s cannot be removed completely. Remove it yourself.", path)


def _create_parents(parent: Path, created: list[Path]) -> None:
    """Creates a directory and its parents, and records the new ones, the deepest first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            # Another conversion has just created it; if it is no directory, a later step fails.
            continue
        except OSError as error:
            raise DestinationError(
                f"{path} cannot be created: {error.strerror}. Choose another path."
            ) from error
        created.insert(0, path)


def _remove_empty(directories: list[Path]) -> None:
    for path in directories:
        try:
            path.rmdir()
        except OSError:
            # It contains the model, or something else that is not ours.
            return
