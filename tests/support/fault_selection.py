"""Which faults are tried at which operations: all of them, or a selection."""

import errno
import os
import signal
from collections.abc import Iterable, Iterator
from itertools import product

from support.faults import Fault
from support.file_operations import Operation

#: With this in the environment all combinations are tried, and not a selection.
IS_COMPLETE = os.environ.get("FORGATHER_FAULTS") == "all"

KILL = Fault(signal=signal.SIGKILL)
SIGNALS = tuple(Fault(signal=number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
ERRORS = tuple(
    Fault(error=number) for number in (errno.EIO, errno.ENOSPC, errno.EINTR, errno.EXDEV)
)
#: A disk that is broken, and one that its system writes no more to.
LASTING = (
    _BROKEN := Fault(error=errno.EIO, lasts=True),
    _READ_ONLY := Fault(error=errno.EROFS, lasts=True),
)


def kinds_of(operations: Iterable[Operation]) -> list[list[Operation]]:
    """The operations in groups: the same ones of the same code, on different files."""
    kinds: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        kinds.setdefault(operation.kind, []).append(operation)
    return list(kinds.values())


def all_faults(operations: Iterable[Operation]) -> Iterator[Fault]:
    """Each fault before each operation."""
    for operation, fault in product(operations, (KILL, *SIGNALS, *ERRORS, *LASTING)):
        if fault != _READ_ONLY or not operation.is_reading:
            yield fault.before(operation)


def one_fault(operation: Operation, turn: int) -> Fault:
    """One of the faults before an operation; which one, the turn says."""
    lasting = _BROKEN if operation.is_reading else LASTING[turn // 4 % 2]
    faults = (SIGNALS[turn % 3], ERRORS[turn // 2 % 4], KILL, lasting)
    return faults[turn % 4].before(operation)
