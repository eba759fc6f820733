"""A standard output that is full, closed or gone: the result stays, and the message says so."""

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import write_hf_model
from support.variants import variant

LLAMA = variant("llama-default")
FULL = os.strerror(errno.ENOSPC)
BROKEN = os.strerror(errno.EPIPE)

pytestmark = [
    pytest.mark.skipif(
        not Path("/dev/full").exists(), reason="only Linux has a device that is always full"
    ),
    pytest.mark.version_independent,
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", LLAMA, dtype="bfloat16")


def run(redirection: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather`` in a shell."""
    command = [sys.executable, "-m", "forgather_convert", *map(str, arguments)]
    # The status of a pipeline is that of its last command.
    script = f"{{ {shlex.join(command)}; echo $? > status; }} {redirection}"
    return subprocess.run(
        ["sh", "-c", f"{script}; exit $(cat status)"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [("> /dev/full", FULL), (">&-", "closed"), ("| true", BROKEN)],
    ids=["full", "closed", "nobody-reads"],
)
def test_result_is_there_though_nothing_can_be_printed(
    source: Path, tmp_path: Path, redirection: str, reason: str
) -> None:
    result = run(redirection, "convert", "--no-logit-check", "--json", source, tmp_path / "out")
    assert result.returncode == 1
    assert f"The result is complete at {tmp_path / 'out'}" in result.stderr
    assert f"The standard output cannot be written: {reason}" in result.stderr.replace("it is ", "")
    assert "othing was written" not in result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["converters", "list"]])
@pytest.mark.parametrize(("redirection", "reason"), [("> /dev/full", FULL), (">&-", "closed")])
def test_every_command_reports_that_nothing_can_be_printed(
    arguments: list[str], redirection: str, reason: str
) -> None:
    result = run(redirection, *arguments)
    assert result.returncode == 1
    assert f"The standard output cannot be written: {reason}" in result.stderr.replace("it is ", "")
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("redirection", ["2> /dev/full", "<&- >&- 2>&-"])
def test_messages_that_cannot_be_printed_do_not_stop_a_conversion(
    source: Path, tmp_path: Path, redirection: str
) -> None:
    """Nor does anything that a library prints end up in a file that was opened meanwhile."""
    result = run(redirection, "convert", "--no-logit-check", source, tmp_path / "out")
    assert result.returncode == 0
    assert (tmp_path / "out" / "config.json").is_file()
