"""A conversion that is interrupted leaves nothing; after a killed one, the next one cleans up."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, DestinationError, convert
from support.directories import snapshot
from support.faults import server_environment
from support.models import write_hf_model
from support.processes import ProcessCopy
from support.running_conversion import remains, start, wait_for, waiting_conversion
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def waiting(source: Path, destination: Path, tmp_path: Path) -> Iterator[ProcessCopy]:
    with waiting_conversion(
        "--no-logit-check", source, destination, pause=tmp_path / "pause"
    ) as process:
        yield process


def test_killed_conversion_leaves_no_destination(
    source: Path, destination: Path, waiting: ProcessCopy
) -> None:
    """Nobody cleans up after SIGKILL; the next conversion does."""
    before = snapshot(source)
    waiting.kill()
    assert not destination.exists()
    assert len(remains(destination)) == 1
    convert(source, destination)
    assert (destination / "config.json").is_file()
    assert remains(destination) == []
    assert snapshot(source) == before


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGHUP, signal.SIGTERM)],
    ids=["int", "term", "hup", "hup-and-term"],
)
def test_interrupted_conversion_leaves_nothing(
    destination: Path, waiting: ProcessCopy, numbers: tuple[signal.Signals, ...]
) -> None:
    """A terminal that is closed sends more than one signal."""
    for number in numbers:
        waiting.send_signal(number)
    code, output, errors = waiting.ended(timeout=60)
    assert code in {128 + number for number in numbers}
    assert "nothing was written" in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not destination.exists()
    assert remains(destination) == []


def test_signals_without_end_do_not_cut_the_clean_up_short(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    """Somebody leans on Ctrl-C until the process ends, of which Python's own end is a part."""
    pause = tmp_path / "pause"
    pause.mkdir()
    arguments = f"'--no-logit-check', {str(source)!r}, {str(destination)!r}"
    run = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from support.running_conversion import run_conversion\n"
        f"run_conversion({arguments}, pause=Path({str(pause)!r}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", run], env=server_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(pause, process)
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "nothing was written" in errors
    assert "Traceback" not in errors
    assert remains(destination) == []


def test_hangup_that_is_ignored_stays_ignored(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    """As ``nohup`` has it."""
    arguments = ("--no-logit-check", source, destination)
    pause = tmp_path / "pause"
    with waiting_conversion(*arguments, pause=pause, hangup=signal.SIG_IGN) as process:
        process.send_signal(signal.SIGHUP)
        (pause / "go").touch()
        code, _, errors = process.ended(timeout=60)
    assert code == 0, errors
    assert (destination / "config.json").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_second_of_two_conversions_to_the_same_place_is_refused(
    source: Path,
    destination: Path,
    tmp_path: Path,
    waiting: ProcessCopy,
    overwrite: bool,
) -> None:
    """It does not disturb the first, and learns at once that it is the second."""
    options = ConvertOptions(overwrite=overwrite, logit_check=False)
    with pytest.raises(DestinationError, match=r"Another conversion to .* is running") as caught:
        convert(source, destination, options)
    assert str(destination) in str(caught.value)
    (tmp_path / "pause" / "go").touch()
    code, _, errors = waiting.ended(timeout=60)
    assert code == 0, errors
    assert (destination / "config.json").is_file()
    assert remains(destination) == []


def test_what_appears_during_the_conversion_is_left_alone(
    destination: Path, tmp_path: Path, waiting: ProcessCopy
) -> None:
    destination.mkdir()
    (tmp_path / "pause" / "go").touch()
    code, _, errors = waiting.ended(timeout=60)
    assert code == 1
    assert "changed during the conversion" in errors
    assert str(destination) in errors
    assert list(destination.iterdir()) == []
    assert remains(destination) == []


def test_write_error_leaves_nothing(source: Path, destination: Path) -> None:
    """A limit on the size of files stands for a disk that is full."""
    with start(source, destination, limit=100_000) as process:
        code, output, errors = process.ended(timeout=120)
    assert code == 1
    assert os.strerror(errno.EFBIG) in errors
    assert "Nothing was written" in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not destination.exists()
    assert remains(destination) == []
