"""Standard streams that cannot do harm when they are closed or full."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    sys.stdout = cast("TextIO", _Output(output))
    if messages is not None:
        sys.stderr = cast("TextIO", _Messages(messages))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, messages


class _Stream:
    """A stream whose failures are handled in one place; all else is the original's."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._stream is None:
            self._fail("it is closed")
            return 0
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._give_up(error)
            return 0

    def flush(self) -> None:
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        # What is still in the buffer would fail again when Python ends, with an exit code of
        # its own.
        with suppress(OSError, ValueError):
            if self._stream is not None:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
        self._fail(error.strerror if isinstance(error, OSError) else str(error))

    def _fail(self, reason: str | None) -> None:
        raise NotImplementedError


class _Output(_Stream):
    def _fail(self, reason: str | None) -> None:
        raise OutputError(f"The standard output cannot be written: {reason}.")


class _Messages(_Stream):
    def _fail(self, reason: str | None) -> None:
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
