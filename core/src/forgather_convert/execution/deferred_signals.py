"""Steps that a signal must not cut in half."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

#: What ends a program from outside, as far as it can be caught.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Keeps signals that end the program until the block is left; then the first one acts.

    Signals that are ignored stay so. In other threads than the main one nothing is done:
    Python runs handlers in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    try:
        with ExitStack() as stack:
            for number in STOP_SIGNALS:
                handler = signal.getsignal(number)
                # None: a handler that was not set by Python, which could not be set again.
                if handler not in (None, signal.SIG_IGN):
                    stack.callback(signal.signal, number, handler)
                    signal.signal(number, note)
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])
