"""Lets things go wrong at the operations of one conversion, and checks what comes of each."""

import errno
import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from support.directories import snapshot
from support.faults import Conversions, Ended, Fault, PlannedCommand
from support.file_operations import Operation
from support.staged_models import OLD, write_model


class FaultMatrix:
    """A conversion that is run again and again, each time from the same beginning.

    Args:
        conversions: Runs it.
        command: The conversion.
        place: Its destination, which has a directory of its own.
        inputs: Directories that must stay as they are.
        overwrites: Whether there is a model, which is replaced.
        lacks_renameat2: Whether the system cannot exchange directories.

    Attributes:
        operations: What it does to files if nothing goes wrong, in order.
        counts: How many cases of each kind there were, and how many of each outcome.
        problems: What was not as it should be.
    """

    def __init__(
        self,
        conversions: Conversions,
        command: PlannedCommand,
        place: Path,
        inputs: Iterable[Path],
        overwrites: bool = False,
        lacks_renameat2: bool = False,
    ) -> None:
        self._conversions = conversions
        self._command = command
        self._place = place
        self._inputs = {directory: _states(directory) for directory in inputs}
        self._overwrites = overwrites
        self._clean = Fault(lacks_renameat2=lacks_renameat2)
        self._good_beginnings: set[frozenset[tuple[str, int, bytes]]] = set()
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.reset()
        conversions.warm_up(command)
        self.reset()
        ended = conversions.run(command, self._clean)
        assert ended.code == 0, ended.errors
        self.operations = ended.operations
        self._new = snapshot(place)

    def reset(self) -> None:
        """Makes the destination what it is before each case."""
        shutil.rmtree(self._place.parent, ignore_errors=True)
        self._place.parent.mkdir()
        if self._overwrites:
            write_model(self._place, OLD)

    def try_faults(self, faults: Iterable[Fault]) -> None:
        """Lets each happen in turn, and the conversion be repeated after it."""
        for given in faults:
            fault = replace(given, lacks_renameat2=self._clean.lacks_renameat2)
            name = _name(fault)
            case = f"{name} before {fault.operation}"
            self.reset()
            self._try(case, lambda fault=fault, case=case: self._check_fault(fault, case))  # type: ignore[misc]
            self.counts[name] += 1
        for directory, states in self._inputs.items():
            assert _states(directory) == states

    def try_rival(self, rival: PlannedCommand, operations: Iterable[Operation]) -> None:
        """Lets another conversion to the same destination run before each of some operations.

        Args:
            rival: The other conversion; its model is another one.
            operations: Before which.
        """
        self.reset()
        assert self._conversions.run(rival, self._clean).code == 0
        rivals = snapshot(self._place)
        assert rivals != self._new
        for operation in operations:
            self.reset()
            case = f"another conversion before {operation}"
            self._try(case, lambda o=operation, c=case: self._check_rival(rival, o, rivals, c))  # type: ignore[misc]
            self.counts["another conversion"] += 1

    def _try(self, case: str, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as error:
            self.problems.append(f"{case}:\n{error}")

    def _check_fault(self, fault: Fault, case: str) -> None:
        ended = self._conversions.run(self._command, fault)
        found = self._check(ended, fault)
        beginning = _entries(self._place.parent)
        if beginning in self._good_beginnings:
            # From the same files the same comes.
            return
        self._check_next(self._conversions.run(self._command, self._clean), found)
        self._good_beginnings.add(beginning)

    def _check(self, ended: Ended, fault: Fault) -> str:
        """Checks what a fault has led to; gives what is at the destination."""
        found = self._found()
        assert ended.happened, "It did not happen."
        if ended.code == -signal.SIGKILL:
            self.counts["killed, new" if found == "new" else "killed, not new"] += 1
            return found
        self._check_end(ended)
        if fault.lasts and found == "absent" and self._before == "old":
            # It could not be put back, which is said.
            assert "it is the old one that belongs to" in ended.errors, ended.errors
        else:
            assert found in ("new", self._before), f"{found}\n{ended.errors}"
        if ended.code == 0:
            assert found == "new", ended.errors
            self.counts["new"] += 1
        else:
            last = ended.errors.splitlines()[-1]
            assert ("result is complete at" in last) == (found == "new"), ended.errors
            assert not (found == "new" and "othing was written" in last), ended.errors
            if fault.operation is not None and fault.signal is None and not fault.lasts:
                assert self._command.root in last, f"It names no file.\n{ended.errors}"
            self.counts["failed, new" if found == "new" else "failed, as before"] += 1
        for name in self._leftovers():
            assert name in ended.errors, f"{name} is left.\n{ended.errors}"
        return found

    def _check_next(self, ended: Ended, found: str) -> None:
        said = f"The next conversion:\n{ended.errors}"
        if found == "new" and not self._overwrites:
            assert ended.code == 1, said
            assert "exists" in ended.errors, said
        else:
            assert ended.code == 0, said
        assert self._found() == "new", said
        assert self._leftovers() == [], said

    def _check_rival(
        self, command: PlannedCommand, operation: Operation, rivals: dict[str, bytes], case: str
    ) -> None:
        fault = replace(self._clean, operation=operation, rival=True)
        ended = self._conversions.run(self._command, fault, command)
        rival = ended.rival
        assert rival is not None, "It did not happen."
        self._check_end(ended)
        self._check_end(rival)
        said = f"{ended.errors}\nThe other one:\n{rival.errors}"
        content = snapshot(self._place) if self._place.exists() else None
        old = OLD if self._overwrites else None
        expected = {
            (True, True): (self._new, rivals),
            (True, False): (self._new,),
            (False, True): (rivals,),
            (False, False): (old,),
        }
        assert content in expected[ended.code == 0, rival.code == 0], said
        assert self._leftovers() == [], said
        who = {(True, True): "both", (True, False): "first", (False, True): "second"}
        self.counts[f"succeeded: {who.get((ended.code == 0, rival.code == 0), 'none')}"] += 1

    @staticmethod
    def _check_end(ended: Ended) -> None:
        assert ended.code >= 0, f"{ended.code}\n{ended.errors}"
        assert "Traceback" not in ended.errors, ended.errors
        assert "bug" not in ended.errors, ended.errors
        if ended.code:
            assert ended.errors.splitlines()[-1].startswith("ERROR: "), ended.errors

    @property
    def _before(self) -> str:
        return "old" if self._overwrites else "absent"

    def _found(self) -> str:
        if not os.path.lexists(self._place):
            return "absent"
        content = snapshot(self._place)
        assert content in (OLD, self._new), f"The destination has {sorted(content)}."
        return "old" if content == OLD else "new"

    def _leftovers(self) -> list[str]:
        return [path.name for path in self._place.parent.iterdir() if path != self._place]


def _name(fault: Fault) -> str:
    if fault.signal is not None:
        return signal.Signals(fault.signal).name
    if fault.cuts is not None:
        return "cut"
    name = errno.errorcode[fault.error or 0]
    return f"{name} from then on" if fault.lasts else name


def _entries(directory: Path) -> frozenset[tuple[str, int, bytes]]:
    """All that is in a directory, apart from times."""
    return frozenset(
        (
            str(path.relative_to(directory)),
            (mode := path.lstat().st_mode),
            path.read_bytes() if stat.S_ISREG(mode) else b"",
        )
        for path in directory.rglob("*")
    )


def _states(directory: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(directory)): (status.st_size, status.st_mtime_ns, status.st_ino)
        for path in directory.rglob("*")
        if path.is_file() and (status := path.stat())
    }
