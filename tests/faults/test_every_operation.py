"""The process is killed before each operation on files, and each of them fails, in turn.

What is at the destination is always nothing, the old model or the new one, and whole; the last
message is true; the source stays as it is; and the next conversion leaves only its result.
"""

import errno
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.directories import snapshot
from support.faults import READING, Conversions, Ended, Fault
from support.models import write_hf_model
from support.staged_models import OLD, write_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

#: With this in the environment all combinations are tried, and not a selection.
_IS_COMPLETE = os.environ.get("FORGATHER_FAULTS") == "all"
_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR, errno.EXDEV)
#: The code that writes files: the destination does not matter to it.
_WRITING = ("executor.", "file_copy.", "byte_copy.", "shard_parts.", "weights_writer.")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Way:
    """How a conversion meets its destination.

    Attributes:
        overwrites: Whether there is a model, which is replaced.
        lacks_renameat2: Whether the system cannot exchange directories.
    """

    overwrites: bool
    lacks_renameat2: bool = False


WAYS = {
    "new": Way(overwrites=False),
    "exchanged": Way(overwrites=True),
    "renamed twice": Way(overwrites=True, lacks_renameat2=True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model in both formats."""
    root = tmp_path_factory.mktemp("models")
    original = write_hf_model(root / "hf", _SMALL, dtype="bfloat16")
    convert(original, root / "fg", ConvertOptions(logit_check=False))
    return {"to forgather": original, "from forgather": root / "fg"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("direction", ["to forgather", "from forgather"])
def test_fault_before_every_operation(
    models: dict[str, Path],
    tmp_path: Path,
    direction: str,
    way: str,
    request: pytest.FixtureRequest,
) -> None:
    root = tmp_path / "root"
    source = shutil.copytree(models[direction], root / "source")
    is_thin = direction == "from forgather"
    matrix = _Matrix(source, root / "place" / "out", WAYS[way], is_thin)
    matrix.reset()
    options = ["--overwrite"] if WAYS[way].overwrites else []
    with Conversions(
        source, matrix.place, *options, root=root, plan_file=tmp_path / "plan"
    ) as conversions:
        matrix.run(conversions)
    # Seen with -rP.
    request.node.add_report_section("call", "faults", str(dict(matrix.counts)))
    assert not matrix.problems, "\n\n".join(matrix.problems)
    # All that can come of a fault has come of one.
    outcomes = {"killed, new", "killed, not new", "failed, new", "failed, as before", "new"}
    assert is_thin or outcomes <= {*matrix.counts}


class _Matrix:
    def __init__(self, source: Path, place: Path, way: Way, is_thin: bool) -> None:
        self._source = source
        self._source_before = _states(source)
        self.place = place
        self._way = way
        self._is_thin = is_thin
        self._new: dict[str, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def reset(self) -> None:
        """Makes the destination what it is before each case."""
        shutil.rmtree(self.place.parent, ignore_errors=True)
        self.place.parent.mkdir()
        if self._way.overwrites:
            write_model(self.place, OLD)

    def run(self, conversions: Conversions) -> None:
        clean = Fault(lacks_renameat2=self._way.lacks_renameat2)
        self.reset()
        ended = conversions.run(clean)
        assert ended.code == 0, ended.errors
        self._new = snapshot(self.place)
        for fault in self._faults(ended.operations):
            self.reset()
            name = signal.Signals(fault.signal).name if fault.signal else _name(fault.error)
            case = f"{name} before {fault.step}: {ended.operations[fault.step or 0]}"
            try:
                found = self._check(conversions.run(fault), case)
                self._check_next(conversions.run(clean), found, case)
            except AssertionError as error:
                self.problems.append(str(error))
            self.counts[name] += 1
        assert snapshot(self._source).keys() == self._source_before.keys()
        assert _states(self._source) == self._source_before

    def _faults(self, operations: tuple[str, ...]) -> Iterator[Fault]:
        """All, or a selection: the first and the last operation of each kind at each place in the
        code, with faults that take turns.
        """
        places: dict[str, list[int]] = {}
        for step, operation in enumerate(operations):
            places.setdefault(operation, []).append(step)
        for turn, (operation, steps) in enumerate(places.items()):
            for fault in self._kinds(operation, turn):
                for step in steps if _IS_COMPLETE else sorted({steps[0], steps[-1]}):
                    yield replace(fault, step=step, lacks_renameat2=self._way.lacks_renameat2)

    def _kinds(self, operation: str, turn: int) -> list[Fault]:
        signals = [Fault(signal=number) for number in _SIGNALS]
        errors = [Fault(error=number) for number in _ERRORS]
        kill = Fault(signal=signal.SIGKILL)
        if _IS_COMPLETE:
            return [kill, *signals, *errors]
        if self._way.overwrites and any(part in operation for part in _WRITING):
            # As without.
            return []
        one_signal, one_error = signals[turn % len(signals)], errors[turn // 2 % len(errors)]
        changing = [] if operation.split()[0] in READING else [kill]
        if self._is_thin:
            return [[one_signal, one_error, kill][turn % 3]]
        if self._way.overwrites:
            return [*changing, [one_signal, one_error][turn % 2]]
        return [*changing, one_signal, one_error]

    def _check(self, ended: Ended, case: str) -> str:
        """Checks what a fault has led to; gives what is at the destination."""
        found = self._found(case)
        said = f"{case}:\n{ended.errors}"
        if ended.code == -signal.SIGKILL:
            self.counts["killed, new" if found == "new" else "killed, not new"] += 1
            return found
        assert ended.code >= 0, said
        assert "Traceback" not in ended.errors, said
        assert "bug" not in ended.errors, said
        assert found == ("new" if found == "new" else self._before), said
        if ended.code == 0:
            assert found == "new", said
            self.counts["new"] += 1
        else:
            last = ended.errors.splitlines()[-1]
            assert last.startswith("ERROR: "), said
            assert ("result is complete at" in last) == (found == "new"), said
            assert not (found == "new" and "othing was written" in last), said
            self.counts["failed, new" if found == "new" else "failed, as before"] += 1
        for name in self._leftovers():
            assert name in ended.errors, f"{said} {name}"
        return found

    def _check_next(self, ended: Ended, found: str, case: str) -> None:
        said = f"after {case}:\n{ended.errors}"
        if found == "new" and not self._way.overwrites:
            assert ended.code == 1, said
            assert "exists" in ended.errors, said
        else:
            assert ended.code == 0, said
        assert self._found(said) == "new", said
        assert self._leftovers() == [], said

    @property
    def _before(self) -> str:
        return "old" if self._way.overwrites else "absent"

    def _found(self, case: str) -> str:
        if not os.path.lexists(self.place):
            return "absent"
        content = snapshot(self.place)
        assert content in (OLD, self._new), case
        return "old" if content == OLD else "new"

    def _leftovers(self) -> list[str]:
        return [path.name for path in self.place.parent.iterdir() if path != self.place]


def _name(number: int | None) -> str:
    return errno.errorcode[number or 0]


def _states(directory: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(directory)): (status.st_size, status.st_mtime_ns, status.st_ino)
        for path in directory.rglob("*")
        if path.is_file() and (status := path.stat())
    }
