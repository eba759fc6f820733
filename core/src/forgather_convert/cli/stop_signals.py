"""Signals that end the command, as exceptions: everything is cleaned up on the way out."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from forgather_convert.execution.deferred_signals import STOP_SIGNALS

#: Signals that follow one within this time, in seconds, belong to it: a terminal that is
#: closed sends several. Raising for each could cut the clean-up short.
_SAME_EVENT = 1.0


class Stopped(BaseException):
    """A signal arrived: unwind, so that nothing half-written stays."""

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
    """Lets signals raise :class:`Stopped`; those that are ignored (``nohup``) stay ignored.

    Once one has arrived the process is about to end: further ones are ignored at the end.
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
