"""The hidden directory in which a result is written before it appears."""

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
#: A staging directory's name has at most this many bytes of the destination's.
_PREFIX_BYTES = 100


@dataclass(frozen=True)
class Staging:
    """A staging directory, and whose it is.

    Its name follows from the destination's: a second conversion to the same place meets it
    and finds it locked, and the conversion after one that was killed finds what that left.

    Attributes:
        destination: Where the result will be.
        directory: The staging directory itself, beside the destination.
    """

    destination: Destination
    directory: Path

    @property
    def content(self) -> Path:
        """Where the result is written. Once it has taken its place, the model that it replaces."""
        return self.directory / _CONTENT

    @property
    def moved_away(self) -> Path:
        """Where the old model is while its place is empty, if it cannot be exchanged at once.

        It is put back, unless the new model has left :attr:`content` for its place.
        """
        return self.directory / _MOVED_AWAY / self.destination.name


def staging_path(destination: Destination) -> Path:
    """The staging directory of a destination; its name is short, however long the other is."""
    name = os.fsencode(destination.name)
    digest = hashlib.sha256(name).hexdigest()[:16]
    prefix = os.fsdecode(name[:_PREFIX_BYTES]) if len(name) > _PREFIX_BYTES else destination.name
    return destination.parent / f".{prefix}{_MARK}{digest}"


@contextmanager
def staging_directory(destination: Destination) -> Iterator[Staging]:
    """Gives a staging directory with an empty directory for the result; it is removed at the end.

    What a conversion that was killed has left is dealt with first. An old model that it had
    moved away is put back, for this destination and for all others beside it. The rest is
    removed if it is this destination's. Nothing is touched that is in use.

    Raises:
        DestinationError: The place cannot be written; another conversion writes there; or a
            model was left that can neither be put back nor be removed.
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
        # The last comes first, and each of them whatever becomes of the others.
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
            f"Another conversion to {staging.destination} is under way: {error} Wait for it, or "
            "choose another place. If none is running, remove that directory."
        ) from error
    except OSError as error:
        raise DestinationError(
            f"{staging.destination.parent} cannot be written: {error.strerror} "
            f"({staging.directory.name}). Choose another place."
        ) from error


def _create_content(staging: Staging) -> None:
    try:
        staging.content.mkdir()
    except OSError as error:
        raise DestinationError(
            f"{staging.content} cannot be created: {error.strerror}. Remove {staging.directory}, "
            "or choose another place."
        ) from error


def _clean_up_leftover(staging: Staging) -> None:
    """Makes an abandoned staging directory an empty one, and loses no model on the way."""
    try:
        put_back(staging.directory)
    except OSError as error:
        raise DestinationError(
            f"An interrupted conversion has left the model that was at {staging.destination} in "
            f"{staging.directory / _MOVED_AWAY}. It cannot be put back: {error.strerror}. Move it "
            "to another place, or remove it if it is not needed."
        ) from error
    if not os.path.lexists(staging.content):
        return
    # It may be a model that was replaced and not yet removed; then it passed this check, too.
    checkpoints = _checkpoints_in(staging.content)
    if checkpoints:
        raise DestinationError(
            f"An interrupted conversion has left training checkpoints ({', '.join(checkpoints)}) "
            f"in {staging.content}. Move them to another place, or remove them if they are not "
            "needed."
        )
    logger.info("Removing what an interrupted conversion left: %s", staging.directory)
    _remove(staging.content)


def _put_back_neighbours(staging: Staging) -> None:
    """Puts back what killed conversions to other places in the same directory have moved away."""
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
                "An interrupted conversion has left a model in %s that cannot be put back: %s. "
                "Move it to its place yourself.",
                directory / _MOVED_AWAY,
                error.strerror,
            )
        finally:
            lock.release()


def put_back(directory: Path) -> None:
    """Moves a model that was taken from its place back to there.

    If the new model is in its place, the old one was replaced: it takes the new one's place among
    what is removed.

    Raises:
        FileExistsError: The place is taken by something else.
        OSError: The model cannot be moved.
    """
    moved_away = directory / _MOVED_AWAY
    if not moved_away.is_dir():
        return
    content = directory / _CONTENT
    for model in moved_away.iterdir():
        place = directory.parent / model.name
        if not _exists(content) and _exists(place):
            rename_to_free(model, content)
            continue
        rename_to_free(model, place)
        logger.warning("The old model is back at %s; a conversion did not replace it.", place)
    moved_away.rmdir()


def _exists(path: Path) -> bool:
    """Unlike ``os.path.lexists``, does not take what cannot be found out for no.

    Raises:
        OSError: It cannot be found out.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _dispose(staging: Staging) -> None:
    """Removes a staging directory. An old model that is still away from its place goes back."""
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
        # They have appeared in the moment in which the model was replaced.
        logger.error(
            "Training checkpoints (%s) are in %s. Move them to another place.",
            ", ".join(checkpoints),
            staging.content,
        )
        return
    _remove(staging.content)


def _checkpoints_in(content: Path) -> list[str]:
    """The training checkpoints in what may be a model that was replaced, and not be there."""
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
    """Creates a directory and those above it, and notes the new ones, the deepest first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            # Another conversion needs it, too; whether it is a directory will be seen.
            continue
        except OSError as error:
            raise DestinationError(
                f"{path} cannot be created: {error.strerror}. Choose another place."
            ) from error
        created.insert(0, path)


def _remove_empty(directories: list[Path]) -> None:
    for path in directories:
        try:
            path.rmdir()
        except OSError:
            # The model is in it, or something of somebody else's.
            return
