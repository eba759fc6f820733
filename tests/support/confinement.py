"""Runs what may go wrong within bounds of time and memory, and watches what it does.

Python tells its audit hooks (PEP 578) of every file that it opens to write, of every process and
every connection, whoever asks for them.
"""

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Far more than any example takes.
_SECONDS = 90
#: How much address space an action may take beside what the process has, in bytes.
_MEMORY = 2 << 30
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: How temporary names begin: the package's own, and those of torch, which makes a directory for its
#: compiler when it first describes tensors without values.
_TEMPORARY = ("forgather-", "torchinductor_")
#: Which arguments of an event are paths that are changed.
_CHANGES = {
    "os.chmod": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
}
_NEVER = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
)


class _Watch:
    """Notes what is done outside of some places; nothing while there are none.

    Attributes:
        places: The beginnings of paths that may be written.
        violations: What else was done.
    """

    def __init__(self) -> None:
        self.places: tuple[str, ...] = ()
        self.violations: list[str] = []
        self._is_installed = False

    def install(self) -> None:
        """Hooks stay until the process ends."""
        if not self._is_installed:
            self._is_installed = True
            sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.places:
            return
        if event in _NEVER:
            self.violations.append(f"{event}{arguments}")
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._check(event, path)
        elif event in _CHANGES:
            for position in _CHANGES[event]:
                self._check(event, arguments[position])

    def _check(self, event: str, path: object) -> None:
        # A number is a file that is open; what a directory's descriptor leads to is not told.
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = Path(os.fsdecode(path))
        if not place.is_absolute() or str(place) == os.devnull or "__pycache__" in place.parts:
            return
        # Not of the name itself: that may be a link.
        if not str(place.parent.resolve() / place.name).startswith(self.places):
            self.violations.append(f"{event} {place}")


_watch = _Watch()


@contextmanager
def confined(room: Path) -> Iterator[None]:
    """Fails a test that takes too long or too much memory, or does anything outside of a directory.

    Memory that cannot be had is a ``MemoryError``, or the end of the process.

    Args:
        room: Where files may be written, besides temporary files.
    """
    _watch.install()
    temporary = Path(tempfile.gettempdir()).resolve()
    own = [str(temporary / name) for name in _TEMPORARY]
    _watch.places, _watch.violations = (f"{room.resolve()}{os.sep}", *own), []
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("It hangs."))
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _MEMORY, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        _watch.places = ()
    assert _watch.violations == [], _watch.violations


def _address_space() -> int:
    """The size of this process's address space, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
