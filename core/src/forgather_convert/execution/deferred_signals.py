"""Steps that a signal must not interrupt."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

#: The signals that end a program and can be caught.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defers signals that end the program until the block is left; then raises the first one.

    Signals being ignored stay ignored. Outside the main thread this does nothing, since Python
    runs signal handlers in the main thread only.
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
                # None is a handler that was not installed by Python and could not be restored.
                if handler not in (None, signal.SIG_IGN):
                    stack.callback(signal.signal, number, handler)
                    signal.signal(number, note)
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])
