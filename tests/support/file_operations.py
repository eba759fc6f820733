"""Python's access to files: each operation is counted, and something can happen before it.

What is changed is this access, not the code under test. What libraries in other languages do is
not seen.
"""

import builtins
import errno
import fcntl
import io
import mmap
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from forgather_convert.execution import atomic_rename

#: Functions, by which of their arguments are paths or descriptors.
_OS = {
    "access": (0,),
    "chmod": (0,),
    "close": (0,),
    "copy_file_range": (0, 1),
    "fchmod": (0,),
    "fdatasync": (0,),
    "fstat": (0,),
    "fsync": (0,),
    "ftruncate": (0,),
    "link": (0, 1),
    "listdir": (0,),
    "lstat": (0,),
    "mkdir": (0,),
    "open": (0,),
    "posix_fadvise": (0,),
    "posix_fallocate": (0,),
    "pread": (0,),
    "preadv": (0,),
    "pwrite": (0,),
    "pwritev": (0,),
    "read": (0,),
    "readlink": (0,),
    "remove": (0,),
    "rename": (0, 1),
    "replace": (0, 1),
    "rmdir": (0,),
    "scandir": (0,),
    "sendfile": (0, 1),
    "stat": (0,),
    "statvfs": (0,),
    "symlink": (1,),
    "truncate": (0,),
    "unlink": (0,),
    "utime": (0,),
    "write": (0,),
}
_FCNTL = {"flock": (0,), "ioctl": (0, 2)}
#: Operations that change nothing.
READING = frozenset(
    (
        *("access", "fstat", "listdir", "lstat", "mmap", "open to read", "posix_fadvise", "pread"),
        *("preadv", "read", "readlink", "scandir", "stat", "statvfs"),
    )
)
_PACKAGE = f"{os.sep}forgather_convert{os.sep}"
#: What only passes on.
_OUTER = (f"{_PACKAGE}cli{os.sep}", f"{_PACKAGE}api.py", f"{_PACKAGE}__main__.py")


@dataclass(frozen=True)
class Operation:
    """An operation on a file.

    Attributes:
        name: The function's.
        path: What it is done to, relative to the directory that counts.
        place: The functions of the package that led there, the innermost first.
        occurrence: How often the same was done before. Threads do not change that, as long as
            each does the same things to a file in the same order.
    """

    name: str
    path: str
    place: str
    occurrence: int = 0

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return self.name in READING

    @property
    def kind(self) -> tuple[str, str]:
        """What it has in common with those that the same code does to other files."""
        return self.name, self.place

    def __str__(self) -> str:
        return f"{self.name} {self.path} ({self.occurrence}) in {self.place}"


class FileOperations:
    """Watches what is done to the files in a directory. Used as a context.

    Args:
        root: The directory.
        before: Called before each operation; what it raises is what the operation raises, with
            the paths that the system would give.
        lacks_renameat2: Whether the system has no ``renameat2``.
    """

    def __init__(
        self,
        root: Path,
        before: Callable[[Operation], None] = lambda operation: None,
        lacks_renameat2: bool = False,
    ) -> None:
        self._root = f"{root}{os.sep}"
        self._before = before
        self._lacks_renameat2 = lacks_renameat2
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._patches = ExitStack()
        self._paused = threading.local()
        self.operations: list[Operation] = []

    def __enter__(self) -> "FileOperations":
        # shutil and others ask by identity what a function can.
        for capability in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            before = set(capability)
            self._patches.callback(capability.intersection_update, before)
        for name, places in _OS.items():
            self._patch(os, name, self._wrapped(name, getattr(os, name), places))
        for name, places in _FCNTL.items():
            self._patch(fcntl, name, self._wrapped(name, getattr(fcntl, name), places))
        opened = self._opened(io.open)
        # What libraries were given before stays theirs.
        self._patch(io, "open", opened)
        self._patch(builtins, "open", opened)
        self._patch(mmap, "mmap", self._mapped(mmap.mmap))
        self._patch(atomic_rename, "call_renameat2", self._renameat2(atomic_rename.call_renameat2))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What this thread does in the block does not count."""
        before = getattr(self._paused, "is_on", False)
        self._paused.is_on = True
        try:
            yield
        finally:
            self._paused.is_on = before

    def _patch(self, module: Any, name: str, value: Any) -> None:
        # Not mock.patch, which takes its time.
        self._patches.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)

    def _path(self, place: Any, directory: int | None = None) -> str | None:
        """Where a path or a descriptor leads, in the directory; ``None`` if elsewhere."""
        try:
            path = _READLINK(f"/proc/self/fd/{place}") if isinstance(place, int) else place
            path = os.fsdecode(path)
            if directory is not None and not path.startswith(os.sep):
                path = f"{_READLINK(f'/proc/self/fd/{directory}')}{os.sep}{path}"
        except (OSError, TypeError):
            return None
        path = f"{os.path.abspath(path)}{os.sep}"
        return path[len(self._root) : -1] if path.startswith(self._root) else None

    def _step(self, name: str, path: str | None, *filenames: Any) -> None:
        """Is called before each operation."""
        if path is None or getattr(self._paused, "is_on", False):
            return
        with self.paused():
            place = _place()
            with self._lock:
                key = (name, path, place)
                operation = Operation(*key, self._counts[key])
                self._counts[key] += 1
                self.operations.append(operation)
            try:
                self._before(operation)
            except OSError as error:
                raise _named(error, filenames) from None

    def _wrapped(
        self, name: str, function: Callable[..., Any], places: tuple[int, ...]
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if getattr(self._paused, "is_on", False):
                return function(*arguments, **options)
            places_given = [arguments[at] for at in places if at < len(arguments)]
            found = [self._path(place, options.get("dir_fd")) for place in places_given]
            # Of two the last that counts is written to.
            path = next((path for path in reversed(found) if path is not None), None)
            filenames = [place for place in places_given if not isinstance(place, int)]
            if name == "close":
                # Whatever is reported, it is closed.
                function(*arguments)
                self._step(name, path)
                return None
            shown = name
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                shown = "open to read"
            self._step(shown, path, *filenames)
            return function(*arguments, **options)

        for capability in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if function in capability:
                capability.add(call)
        return call

    def _renameat2(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(source: bytes, target: bytes, flags: int) -> int:
            if self._lacks_renameat2:
                return errno.ENOSYS
            try:
                self._step("renameat2", self._path(target))
            except OSError as error:
                return int(error.errno or 0)
            return function(source, target, flags)

        return call

    def _mapped(self, original: type[mmap.mmap]) -> Callable[..., Any]:
        def call(descriptor: int, *arguments: Any, **options: Any) -> Any:
            self._step("mmap", self._path(descriptor))
            return original(descriptor, *arguments, **options)

        return call

    def _opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        watch = self

        class Watched(io.FileIO):
            watched_path: str | None = None

            def write(self, data: Any) -> int:
                watch._step("write", self.watched_path)
                return super().write(data) or 0

            def read(self, size: int | None = -1) -> Any:
                watch._step("read", self.watched_path)
                return super().read(size)

            def readall(self) -> Any:
                watch._step("read", self.watched_path)
                return super().readall()

            def readinto(self, buffer: Any) -> Any:
                watch._step("read", self.watched_path)
                return super().readinto(buffer)

            def truncate(self, size: int | None = None) -> int:
                watch._step("ftruncate", self.watched_path)
                return super().truncate(size)

            def close(self) -> None:
                is_last = not self.closed
                super().close()
                if is_last:
                    watch._step("close", self.watched_path)

        def call(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            path = None if getattr(watch._paused, "is_on", False) else watch._path(file)
            if path is None or buffering > 1:
                rest = (buffering, encoding, errors, newline, closefd, opener)
                return function(file, mode, *rest)
            binary = mode.replace("b", "").replace("t", "")
            if not isinstance(file, int) and opener is None:
                watch._step("open to read" if binary == "r" else "open", path, file)
            raw = Watched(file, binary, closefd, opener)
            raw.watched_path = path
            if buffering == 0:
                return raw
            buffered: Any
            if "+" in binary:
                buffered = io.BufferedRandom(raw)
            elif binary == "r":
                buffered = io.BufferedReader(raw)
            else:
                buffered = io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline)
            text.mode = mode  # type: ignore[misc]
            return text

        return call


_READLINK = os.readlink


def _named(error: OSError, filenames: tuple[Any, ...]) -> OSError:
    """An error as the system reports it for an operation on these paths."""
    names = [filenames[0], None, filenames[1]] if len(filenames) > 1 else list(filenames)
    return OSError(error.errno, error.strerror, *names)


def _place() -> str:
    """The functions of the package that led here."""
    frame: FrameType | None = sys._getframe(2)
    names = []
    while frame is not None:
        code = frame.f_code
        name = _function(code.co_filename, code.co_name)
        if name is not None:
            names.append(name)
        frame = frame.f_back
    return " < ".join(names)


@cache
def _function(file_name: str, name: str) -> str | None:
    """A function's name with its module's; ``None`` if it does not belong there."""
    if _PACKAGE not in file_name or any(part in file_name for part in _OUTER):
        return None
    return f"{Path(file_name).stem}.{name}"
