"""The last message is true: about what went wrong, and about what is at the destination."""

import errno
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import SourceError, api
from forgather_convert.cli import main as main_module
from forgather_convert.cli import stop_signals
from forgather_convert.execution import commit as commit_module
from forgather_convert.execution.commit import commit
from forgather_convert.execution.destination import check_destination
from forgather_convert.execution.flush import flush
from support.command import forgather
from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs the entry point, and leaves what it leaves behind; gives its exit code."""
    monkeypatch.setattr(sys, "argv", ["forgather", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException, late: bool) -> None:
    """Lets a conversion fail while it writes, or after the result is in its place."""

    def raise_it(*arguments: Any) -> None:
        raise error

    if not late:
        monkeypatch.setattr(api, "execute", raise_it)
        return

    def commit_and_fail(*arguments: Any) -> None:
        commit(*arguments)
        raise error

    monkeypatch.setattr(api, "commit", commit_and_fail)


def deep() -> None:
    deep()


class PanicException(BaseException):
    """What a library that is written in Rust raises when it fails; no Exception."""


ERRORS = [
    (ValueError("odd\n  value"), "This is a bug in forgather-convert: ValueError: odd value."),
    (KeyError("odd"), "This is a bug in forgather-convert: KeyError: 'odd'."),
    (AssertionError(), "This is a bug in forgather-convert: AssertionError."),
    (RecursionError("too deep"), "This is a bug in forgather-convert: RecursionError: too deep."),
    (MemoryError(), "This is a bug in forgather-convert: MemoryError."),
    (PanicException("no"), "This is a bug in forgather-convert: PanicException: no."),
    (RuntimeError("x" * 10_000), "This is a bug in forgather-convert: RuntimeError: xxx"),
    (OSError(errno.ENOSPC, "No space left on device", "/disk/file"), "/disk/file: No space left"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("late", [False, True])
def test_any_error_is_one_line_and_says_what_is_there(
    source: Path,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    message: str,
    late: bool,
) -> None:
    fail(monkeypatch, error, late)
    ended = forgather("convert", "--no-logit-check", "--log-level", "ERROR", source, destination)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert len(ended.stderr) < 1000
    assert "Traceback" not in ended.stderr
    assert (f"The result is complete at {destination}" in ended.stderr) == late
    assert ("Nothing was written" in ended.stderr) == (not late)
    assert (destination / "config.json").exists() == late
    if "bug" in message:
        assert "--log-level DEBUG" in ended.stderr
        assert "report it" in ended.stderr


def test_bug_has_its_traceback_with_the_level_debug(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ValueError("odd value"), late=False)
    ended = forgather("convert", "--no-logit-check", "--log-level", "DEBUG", source, destination)
    assert ended.returncode == 1
    assert "This is a bug in forgather-convert: ValueError: odd value." in ended.stderr
    assert "Traceback" in ended.stderr
    assert "in raise_it" in ended.stderr


def test_recursion_without_end(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "execute", lambda *arguments: deep())
    ended = forgather("convert", "--no-logit-check", source, destination)
    assert ended.returncode == 1
    assert "This is a bug in forgather-convert: RecursionError" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), RuntimeError("broken")])
def test_command_that_writes_no_model_claims_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    """Half a distribution may well have been written."""
    from forgather_convert.converter_tools import new

    def raise_it(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(new, "create_distribution", raise_it)
    ended = forgather("converters", "new", "--directory", tmp_path, "mine")
    assert ended.returncode == 1
    assert "broken" in ended.stderr
    assert "written" not in ended.stderr


def test_reported_error_after_the_result_is_there(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, SourceError("Something is wrong."), late=True)
    ended = forgather("convert", "--no-logit-check", source, destination)
    assert ended.returncode == 1
    assert f"The result is complete at {destination}" in ended.stderr
    assert "Something is wrong." in ended.stderr


def test_late_flush_error(source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_late(path: Path) -> None:
        if path == destination.parent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(path)

    monkeypatch.setattr(commit_module, "flush", fail_late)
    ended = forgather("convert", "--no-logit-check", "--log-level", "ERROR", source, destination)
    assert ended.returncode == 1
    assert ended.stderr.count("The result is complete at") == 1
    assert os.strerror(errno.EIO) in ended.stderr
    assert "othing was written" not in ended.stderr
    assert (destination / "config.json").exists()


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGINT, "Interrupted"), (signal.SIGTERM, "Terminated"), (signal.SIGHUP, "Hung up")],
)
@pytest.mark.parametrize("late", [False, True])
def test_signal(
    source: Path,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    word: str,
    late: bool,
) -> None:
    """While it writes, or in the middle of the renaming, which is not cut in half."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, signal.default_int_handler) for each in numbers]

    def arrive(*arguments: Any) -> None:
        signal.raise_signal(number)

    if late:

        def check_and_arrive(*arguments: Any) -> None:
            check_destination(*arguments)
            arrive()

        monkeypatch.setattr(commit_module, "check_destination", check_and_arrive)
    else:
        monkeypatch.setattr(api, "execute", arrive)
    try:
        options = ("--no-logit-check", "--log-level", "ERROR")
        exit_code = run_main(monkeypatch, "convert", *options, source, destination)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        for each, handler in zip(numbers, before, strict=True):
            signal.signal(each, handler)
    assert exit_code == 128 + number
    what = f"the result is complete at {destination}" if late else "nothing was written"
    assert capsys.readouterr().err == f"ERROR: {word}; {what}.\n"
    assert (destination / "config.json").exists() == late
    assert list(destination.parent.glob(".*")) == []


def test_signals_that_arrive_together_are_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one counts again: the first may have been lost in a place that swallows it."""
    numbers = (signal.SIGHUP, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    time = 100.0
    monkeypatch.setattr("forgather_convert.cli.stop_signals.time.monotonic", lambda: time)
    try:
        with stop_signals.stop_signals():
            with pytest.raises(stop_signals.Stopped):
                signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            time += 2
            with pytest.raises(stop_signals.Stopped):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_main_leaves_signals_and_streams_as_they_were(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(number) for number in main_module._STOPPED]
    streams = sys.stdout, sys.stderr
    assert run_main(monkeypatch, "--help") == 0
    assert re.search(r"^  convert ", capsys.readouterr().out, re.MULTILINE)
    assert [signal.getsignal(number) for number in main_module._STOPPED] == handlers
    assert (sys.stdout, sys.stderr) == streams


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Any:
    logger = logging.getLogger("forgather_convert")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before
