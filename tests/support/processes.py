"""Several processes that work together, as torchrun starts them."""

import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

#: How long a group of processes may take, in seconds.
_LIMIT = 240


def run_together(
    count: int, function: Callable[[int], object], outputs: Path | None = None
) -> list[int]:
    """Runs a function in several processes that torch.distributed connects.

    They are copies of this one: what takes seconds to import is not imported again.

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
    sys.stdout.flush()
    sys.stderr.flush()
    children = [
        _fork(function, rank, {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, outputs)
        for rank in range(count)
    ]
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
    function: Callable[[int], object],
    rank: int,
    environment: Mapping[str, str],
    outputs: Path | None,
) -> int:
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
            descriptor = os.open(outputs / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
        function(rank)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        # Not sys.exit: the test runner's own end is not this process's.
        os._exit(code)
