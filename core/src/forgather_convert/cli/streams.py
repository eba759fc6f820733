"""Standard streams that do no harm when they are closed or full."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from forgather_convert.errors import ForgatherConvertError


class OutputError(ForgatherConvertError):
    """The standard output is closed or cannot be written."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Makes a failing standard output raise :class:`OutputError`, and ignores lost messages.

    Lost messages cannot be reported, and are no reason to give up a conversion.
    """
    _fill_closed_descriptors()
    output, messages = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as null:
        # Python sets a stream to None if it was closed at the start.
        checked = _ClosedOutput(null) if output is None else _Output(output)
        sys.stdout = cast("TextIO", checked)
        sys.stderr = cast("TextIO", _Messages(null if messages is None else messages))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = output, messages


class _Stream:
    """A stream that handles failures to write, and otherwise behaves like the original."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        # Libraries write "" to find out what kind of stream this is, and catch the exception.
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
        # Also if a caller has caught an earlier failure.
        self._fail(self._failure)
        return 0

    def _drop_buffer(self) -> None:
        """Keeps Python from flushing the buffer at exit, which would change the exit code."""
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
    """A closed standard output, which is an error only if something is printed."""

    def write(self, text: str) -> int:
        if text:
            self._failure = "it is closed"
        return super().write(text)


class _Messages(_Stream):
    def _fail(self, reason: str) -> None:
        pass


def _fill_closed_descriptors() -> None:
    """Opens the null device in place of closed standard streams.

    Otherwise the next file opened would get a stream's descriptor, and what a library prints could
    end up in the weights.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
