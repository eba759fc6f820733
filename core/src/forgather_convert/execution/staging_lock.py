"""A directory that one process at a time can lock, until it ends or releases the lock.

``flock`` is used directly, because the lock file is removed with the directory, which lock
libraries do not support. For the same reason, a process that has obtained a lock checks that the
lock file is still the one in the directory.
"""

import errno
import fcntl
import logging
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_LOCK_FILE = ".lock"
#: The errors reported by file systems that do not support locks.
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})


class InUseError(Exception):
    """Another process has locked the directory, or whether one has cannot be determined."""


@dataclass(frozen=True)
class LockedDirectory:
    """A directory that this process has locked.

    Attributes:
        path: The directory, which contains the lock file.
        descriptor: The open lock file. The lock is held as long as this is open.
        is_new: Whether the directory did not exist before.
    """

    path: Path
    descriptor: int
    is_new: bool

    def content(self) -> list[Path]:
        """The content of the directory without the lock file."""
        return [path for path in self.path.iterdir() if path.name != _LOCK_FILE]

    def release(self) -> None:
        """Releases the lock, and removes the directory if it is empty."""
        try:
            if not self.content():
                (self.path / _LOCK_FILE).unlink()
                self.path.rmdir()
        except OSError as error:
            # Another process may have put something into it or locked it.
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                logger.warning(
                    "%s cannot be removed: %s. Remove it yourself.", self.path, error.strerror
                )
        finally:
            # Even after an error it is closed, and nothing was written to it.
            with suppress(OSError):
                os.close(self.descriptor)


def lock_directory(path: Path, create: bool = True) -> LockedDirectory:
    """Locks a directory for this process.

    Args:
        path: The directory.
        create: Whether to create it if it does not exist, accessible only to the user.

    Raises:
        InUseError: Another process has locked it.
        OSError: It cannot be created or opened, or is not a directory.
    """
    while True:
        is_new = create and _create(path)
        try:
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            descriptor = os.open(
                path / _LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except FileNotFoundError:
            if create:
                # The process that had locked it has just removed it.
                continue
            raise
        except OSError:
            if is_new:
                with suppress(OSError):
                    path.rmdir()
            raise
        try:
            _lock(descriptor, path, is_new)
            if _is_in(descriptor, path):
                return LockedDirectory(path, descriptor, is_new)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _create(path: Path) -> bool:
    try:
        path.mkdir(mode=stat.S_IRWXU)
    except FileExistsError:
        return False
    return True


def _lock(descriptor: int, path: Path, is_new: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUseError(f"{path} is in use.") from None
    except OSError as error:
        # Without locks, only the process that created the directory knows that it is free.
        if error.errno in _UNSUPPORTED and is_new:
            return
        if error.errno in _UNSUPPORTED:
            raise InUseError(
                f"{path} exists, and without locks on this file system it may be in use."
            ) from error
        raise


def _is_in(descriptor: int, path: Path) -> bool:
    """Whether a lock file is still the one in the directory."""
    try:
        return os.path.samestat(os.fstat(descriptor), (path / _LOCK_FILE).stat())
    except FileNotFoundError:
        return False
