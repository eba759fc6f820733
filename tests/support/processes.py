"""Copies of this process: what takes seconds to import is not imported again in them."""

import io
import logging
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType

#: How long a group of processes may take, in seconds.
_LIMIT = 240
#: The warnings that Python does not show by itself.
_UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class ProcessCopy:
    """Runs a function in a copy of this process. Used as a context, it is killed at the end.

    The copy is as a new process is: signals have their defaults, nothing handles log messages, and
    a warning is no error. It ends when the function does, with the code of ``sys.exit``.

    Args:
        function: What it runs.
        environment: Variables that it has beside those of this process, or instead of them; the
            places in ``PYTHONPATH`` come first among those that Python imports from.
        stderr: A file descriptor for what it prints to stderr, if that is not to be kept.
    """

    def __init__(
        self,
        function: Callable[[], object],
        environment: Mapping[str, str] = MappingProxyType({}),
        stderr: int | None = None,
    ) -> None:
        self._kept = [tempfile.TemporaryFile() for _ in ("stdout", "stderr")]  # noqa: SIM115
        self._code: int | None = None

        def run() -> None:
            places = environment.get("PYTHONPATH", "").split(os.pathsep)
            sys.path[:0] = [place for place in places if place and place not in sys.path]
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            logging.getLogger().handlers.clear()
            warnings.resetwarnings()
            for category in _UNSEEN:
                warnings.simplefilter("ignore", category)
            function()

        stdout, own_stderr = (file.fileno() for file in self._kept)
        self._process = _fork(run, environment, (stdout, own_stderr if stderr is None else stderr))

    def poll(self) -> int | None:
        """The exit code, or the negative number of a signal; ``None`` while it runs."""
        if self._code is None:
            ended, status = os.waitpid(self._process, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self._process, number)

    def ended(self, timeout: float = _LIMIT) -> tuple[int, str, str]:
        """Waits for its end; gives its exit code, and what it printed to stdout and stderr."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, "the process does not end"
            time.sleep(0.005)
        texts = []
        for file in self._kept:
            file.seek(0)
            texts.append(file.read().decode("utf-8"))
        return code, texts[0], texts[1]

    def kill(self) -> None:
        """Ends it, and waits until it has ended."""
        self.send_signal(signal.SIGKILL)
        self.ended()

    def __enter__(self) -> "ProcessCopy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for file in self._kept:
            file.close()


def run_together(
    count: int, function: Callable[[int], object], outputs: Path | None = None
) -> list[int]:
    """Runs a function in several copies, which torch.distributed connects as torchrun does.

    Args:
        count: How many.
        function: Gets the number of its process.
        outputs: A directory for what each prints, ``0.txt`` for the first.

    Returns:
        The exit code of each: 1 if the function raised, the negative number of a signal.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    children = []
    for rank in range(count):
        environment = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        run = partial(function, rank)
        if outputs is None:
            children.append(_fork(run, environment))
            continue
        with (outputs / f"{rank}.txt").open("wb") as file:
            children.append(_fork(run, environment, (file.fileno(), file.fileno())))
    codes: dict[int, int] = {}
    deadline = time.monotonic() + _LIMIT
    try:
        while len(codes) < count:
            for child in children:
                if child not in codes:
                    ended, status = os.waitpid(child, os.WNOHANG)
                    if ended:
                        codes[child] = os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, "the processes do not end"
            time.sleep(0.01)
    finally:
        for child in children:
            if child not in codes:
                os.kill(child, 9)
                os.waitpid(child, 0)
    return [codes[child] for child in children]


def _fork(
    function: Callable[[], object],
    environment: Mapping[str, str],
    outputs: tuple[int, int] | None = None,
) -> int:
    """Starts a copy that runs a function and ends; ``outputs`` become its stdout and stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # The threads of a test runner take no part in what a copy does.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        if outputs is not None:
            for number, output in enumerate(outputs, start=1):
                os.dup2(output, number)
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.FileIO(number, "w"), "utf-8", line_buffering=True)
                for number in (1, 2)
            )
        function()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc(file=sys.__stderr__ if outputs is None else sys.stderr)
    finally:
        # Not sys.exit: the test runner's own end is not this process's.
        os._exit(code)
