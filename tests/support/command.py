"""Runs the real command line: in this process, or in one of its own where that matters."""

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from support.processes import ProcessCopy

_LOGGERS = ("forgather_convert", "forgather_convert.parameters")
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
#: Variables that only count when Python starts.
_OF_A_PROCESS = {"PYTHONPATH", "PYTHONHASHSEED", "PYTHONWARNINGS"}


def forgather(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather`` with arguments, from the command line's own ``main()``, in this process.

    That saves the seconds in which torch and transformers are imported. Text and exit code are
    those of a process. What other libraries print is not: they may have taken hold of the test's
    own stderr before.

    Returns:
        What :func:`forgather_process` gives.
    """
    if own := _OF_A_PROCESS & environment.keys():
        raise ValueError(f"{', '.join(own)} needs forgather_process.")
    # Not above: to start a process, nothing of the package is imported into this one.
    from forgather_convert.cli.main import main

    command = ["forgather", *map(str, arguments)]
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
    with (
        _restored(),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", command),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
    assert isinstance(code, int), f"sys.exit({code!r})"
    return subprocess.CompletedProcess(command, code, _text(stdout), _text(stderr))


def forgather_process(
    *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather`` with arguments; output is captured, a failure is not an exception."""
    return subprocess.run(
        [sys.executable, "-m", "forgather_convert", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def forgather_copy(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather`` with arguments in a copy of this process, as if it were a new one."""
    # Not above: to start a process, nothing of the package is imported into this one.
    from forgather_convert.cli import main as command_line

    command = ["forgather", *map(str, arguments)]

    def run() -> None:
        sys.argv = command
        # This process may have looked for extensions already.
        command_line.forgather._has_extensions = False
        # It may also have imported a distribution of the same name from another directory.
        for name in [name for name in sys.modules if name.startswith("vendor_")]:
            del sys.modules[name]
        command_line.main()

    with ProcessCopy(run, environment) as process:
        return subprocess.CompletedProcess(command, *process.ended())


def run_convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather convert`` in this process; it must succeed."""
    result = forgather("convert", *arguments)
    assert result.returncode == 0, result.stderr
    return result


@contextmanager
def _restored() -> Iterator[None]:
    """Gives back what ``main()`` takes for itself, as a process does when it ends."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    states = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    handlers = [(number, signal.getsignal(number)) for number in _SIGNALS]
    for logger in loggers:
        logger.handlers = []
    with warnings.catch_warnings():
        # A warning is no error in a process, either.
        warnings.simplefilter("default")
        try:
            yield
        finally:
            for logger, kept, level, propagate in states:
                logger.handlers, logger.propagate = kept, propagate
                logger.setLevel(level)
            for number, handler in handlers:
                signal.signal(number, handler)


def _text(stream: io.TextIOWrapper) -> str:
    """What was written to a stream, with the line ends of text."""
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")
