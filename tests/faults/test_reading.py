"""Each operation on the source's files fails in turn, from the first look at them to the end.

Either it does not matter to the result, or there is one clear error that names the file, and
nothing is written.
"""

import errno
import os
import shutil
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.command import forgather
from support.directories import snapshot
from support.fault_selection import IS_COMPLETE
from support.file_operations import FileOperations, Operation
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_ERRORS = (errno.EIO, errno.EACCES)
#: What opens a file, and what gets at its bytes.
_SELECTED = ("open to read", "read", "scandir", "listdir", "preadv")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model in both formats, and in one that is unpickled."""
    root = tmp_path_factory.mktemp("models")
    original = write_hf_model(root / "hf", _SMALL, dtype="bfloat16", shards=2)
    convert(original, root / "fg", ConvertOptions(logit_check=False))
    pickled = write_hf_model(root / "bin", _SMALL, dtype="bfloat16", weights_format="pytorch")
    return {"to forgather": original, "from forgather": root / "fg", "from .bin": pickled}


class _Reading:
    """A conversion in which one operation on the source may fail."""

    def __init__(self, source: Path, root: Path) -> None:
        self.source = source
        self.place = root / "place" / "out"
        self.operations: tuple[Operation, ...] = ()

    def run(self, failing: Operation | None = None, number: int = 0) -> tuple[int, str, bool]:
        """Gives the exit code, what was printed, and whether it came to the operation."""
        shutil.rmtree(self.place.parent, ignore_errors=True)
        self.place.parent.mkdir()
        happened = False

        def fail(operation: Operation) -> None:
            nonlocal happened
            if operation == failing:
                happened = True
                raise OSError(number, os.strerror(number))

        with FileOperations(self.source, fail) as files:
            ended = forgather("convert", "--no-logit-check", self.source, self.place)
        self.operations = tuple(files.operations)
        return ended.returncode, ended.stderr, happened


@pytest.mark.parametrize("what", ["to forgather", "from forgather", "from .bin"])
def test_source_that_cannot_be_read(
    models: dict[str, Path], tmp_path: Path, what: str, request: pytest.FixtureRequest
) -> None:
    reading = _Reading(models[what], tmp_path)
    # The first time things are imported.
    reading.run()
    code, errors, _ = reading.run()
    assert code == 0, errors
    result = snapshot(reading.place)
    cases = _cases(reading.operations)
    problems = []
    for operation, number in cases:
        code, errors, happened = reading.run(operation, number)
        said = f"{errno.errorcode[number]} before {operation}:\n{errors}"
        if not happened or "Traceback" in errors or "bug" in errors or code not in (0, 1):
            problems.append(said)
        elif code == 0:
            if snapshot(reading.place) != result:
                problems.append(f"{said}The result is another one.")
        else:
            last, name = errors.splitlines()[-1], str(reading.source / operation.path)
            is_told = name in last and os.strerror(number) in last
            if not is_told or [*reading.place.parent.iterdir()]:
                problems.append(said)
    # Seen with -rP.
    request.node.add_report_section("call", "faults", f"{len(cases)} cases")
    assert not problems, "\n\n".join(problems)


def _cases(operations: tuple[Operation, ...]) -> list[tuple[Operation, int]]:
    """All, or the first operation of each kind at each place in the code, in turns."""
    if IS_COMPLETE:
        return [(operation, number) for operation in operations for number in _ERRORS]
    places: dict[tuple[str, str], Operation] = {}
    for operation in operations:
        if operation.name in _SELECTED:
            # Who asked for it does not matter.
            places.setdefault((operation.name, operation.place.split(" < ")[0]), operation)
    first = [(operation, _ERRORS[turn % 2]) for turn, operation in enumerate(places.values())]
    # What reads a zip file does so several times.
    zipped = [operation for operation in operations if "read_zip_entries" in operation.place]
    return [*first, *((operation, errno.EIO) for operation in zipped)]
