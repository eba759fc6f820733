"""Turns signals that end the command into exceptions, so that everything is cleaned up."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from forgather_convert.execution.deferred_signals import STOP_SIGNALS

#: Signals within this many seconds of each other count as one: closing a terminal sends several,
#: and raising for each could interrupt the clean-up.
_SAME_EVENT = 1.0


class Stopped(BaseException):
    """A signal arrived; unwinding removes everything half-written."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Handler:
    def __init__(self) -> None:
        self.last: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.last is not None and now - self.last < _SAME_EVENT:
            return
        self.last = now
        raise Stopped(number)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Makes signals raise :class:`Stopped`, except those being ignored (``nohup``).

    If one has arrived, the process is about to end, and later signals are ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler()
    before = {
        number: previous
        for number in STOP_SIGNALS
        if (previous := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if handler.last is None else signal.SIG_IGN)
