"""What fails when the weights are written: the generation, and the file of the report."""

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import forgather
from support.directories import snapshot
from support.fault_selection import IS_COMPLETE, kinds_of
from support.file_operations import FileOperations, Operation
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_ERRORS = (errno.EIO, errno.ENOSPC)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", _SMALL, dtype="bfloat16")


def _failing(operation: Operation, number: int) -> Callable[[Operation], None]:
    def fail(current: Operation) -> None:
        if current == operation:
            raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("is_there", [False, True] if IS_COMPLETE else [True])
def test_report_that_cannot_be_written(
    source: Path, tmp_path: Path, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is there, and of the report nothing, the old one or all of it."""
    # What takes the report's place has the same name each time, so that it can be met again.
    monkeypatch.setattr(secrets, "token_hex", lambda length: "0" * length)
    number = 0

    def run(fail: Callable[[Operation], None]) -> tuple[int, str, tuple[Operation, ...]]:
        nonlocal number
        number += 1
        report.unlink(missing_ok=True)
        if is_there:
            report.parent.mkdir(exist_ok=True)
            report.write_text("old")
        elif report.parent.exists():
            report.parent.rmdir()
        with FileOperations(report.parent.parent, fail) as files:
            place = tmp_path / str(number)
            ended = forgather("convert", "--no-logit-check", "--report", report, source, place)
        assert (place / "config.json").is_file()
        return ended.returncode, ended.stderr, tuple(files.operations)

    report = tmp_path / "reports" / "of today" / "report.json"
    report.parent.parent.mkdir()
    code, errors, operations = run(lambda operation: None)
    assert code == 0, errors
    writing = [operation for operation in operations if "write_report" in operation.place]
    kinds = [alike[0] for alike in kinds_of(writing)]
    for turn, operation in enumerate(writing if IS_COMPLETE else kinds):
        code, errors, _ = run(_failing(operation, _ERRORS[turn % 2]))
        last = errors.splitlines()[-1]
        assert "Traceback" not in errors, errors
        assert "bug" not in errors, errors
        if code == 1:
            assert "result is complete at" in last, errors
            assert str(report) in last, errors
            if is_there:
                assert report.read_text() == "old"
            else:
                assert not report.exists()
        else:
            assert code == 0, errors
        left = [path.name for path in report.parent.glob(".*")] if report.parent.exists() else []
        assert left == []


def test_generation_that_cannot_read_the_result(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "place" / "out"
    place.parent.mkdir()

    def run(fail: Callable[[Operation], None]) -> tuple[int, str, tuple[Operation, ...]]:
        with FileOperations(place.parent, fail) as files:
            ended = forgather("convert", "--no-logit-check", "-g", source, place)
        return ended.returncode, ended.stderr, tuple(files.operations)

    code, errors, operations = run(lambda operation: None)
    assert code == 0, errors
    result = snapshot(place)
    reading = [
        operation
        for operation in operations
        if "generat" in operation.place and operation.name in ("open to read", "read", "mmap")
    ]
    assert reading
    selected = {operation.name: operation for operation in reading}.values()
    for operation in reading if IS_COMPLETE else selected:
        for path in place.glob("*"):
            path.unlink()
        if place.exists():
            place.rmdir()
        code, errors, _ = run(_failing(operation, errno.EIO))
        assert "Traceback" not in errors, errors
        assert "bug" not in errors, f"{operation}\n{errors}"
        assert [path.name for path in place.parent.iterdir()] == (["out"] if code == 0 else [])
        if code == 0:
            assert snapshot(place) == result
        else:
            assert code == 1
            assert "is complete" not in errors, errors
