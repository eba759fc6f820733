"""Standard streams that cannot do harm when they are closed or full."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from forgather_convert.errors import ForgatherConvertError


class OutputError(ForgatherConvertError):
    """The standard output is closed, or cannot take more."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Lets a failing standard output raise :class:`OutputError`, and messages be lost in silence.

    Messages cannot be reported to be lost, and a conversion is not given up for them.
    """
    _fill_closed_descriptors()
    output, messages = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as null:
        # Python has None for what was closed when it started.
        checked = _ClosedOutput(null) if output is None else _Output(output)
        sys.stdout = cast("TextIO", checked)
        sys.stderr = cast("TextIO", _Messages(null if messages is None else messages))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = output, messages


class _Stream:
    """A stream whose failures are handled in one place; all else is the original's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        # Libraries write "" to find out what kind of stream this is, and catch what that raises.
        return 0 if text == "" else self._attempt(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], int | None]) -> int:
        if self._failure is None:
            try:
                return action() or 0
            except (OSError, ValueError) as error:
                self._failure = str(error.strerror if isinstance(error, OSError) else error)
                self._drop_buffer()
        # A failure that somebody has caught is not forgotten.
        self._fail(self._failure)
        return 0

    def _drop_buffer(self) -> None:
        """What is still there would fail again when Python ends, with an exit code of its own."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def _fail(self, reason: str) -> None:
        raise NotImplementedError


class _Output(_Stream):
    def _fail(self, reason: str) -> None:
        raise OutputError(f"The standard output cannot be written: {reason}.")


class _ClosedOutput(_Output):
    """Nothing is wrong with a standard output that is closed until something is printed."""

    def write(self, text: str) -> int:
        if text:
            self._failure = "it is closed"
        return super().write(text)


class _Messages(_Stream):
    def _fail(self, reason: str) -> None:
        pass


def _fill_closed_descriptors() -> None:
    """Opens the null device where a standard stream is closed.

    Otherwise the next file that is opened gets its number, and what a library prints ends up
    in the weights.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
