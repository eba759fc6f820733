"""Several processes that torchrun starts write one conversion together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from forgather_convert.cli.main import main
from forgather_convert.execution import shard_writers
from forgather_convert.execution.executor import write_shards
from forgather_convert.planning.plan import ShardPlan
from support.command import forgather
from support.directories import snapshot
from support.models import write_hf_model
from support.processes import run_together
from support.running_conversion import remains
from support.variants import variant

pytestmark = pytest.mark.version_independent

_LLAMA = variant("llama-default")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("team") / "hf", _LLAMA, "bfloat16", shards=5)


@pytest.fixture(scope="module")
def alone(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the source."""
    directory = tmp_path_factory.mktemp("alone") / "fg"
    convert(source, directory, ConvertOptions(logit_check=False))
    return snapshot(directory)


def _convert(*arguments: str | Path) -> None:
    sys.argv = ["forgather", "convert", *map(str, arguments)]
    main()


def _outputs(directory: Path) -> list[str]:
    return [path.read_text() for path in sorted(directory.glob("*.txt"))]


def test_torchrun_itself(source: Path, alone: dict[str, bytes]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*command, "-m", "forgather_convert", "convert", "--no-logit-check", source.name, "fg"],
        cwd=source.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Conversion complete") == 1
    assert snapshot(source.parent / "fg") == alone
    assert remains(source.parent / "fg") == []


@pytest.mark.parametrize("options", [(), ("--format", "pytorch", "--max-shard-size", "20KB")])
def test_four_processes_make_what_one_makes(
    options: tuple[str, ...], source: Path, tmp_path: Path
) -> None:
    places = [tmp_path / "one", tmp_path / "four"]
    arguments: tuple[str | Path, ...] = ("--no-logit-check", *options, source)
    (tmp_path / "out").mkdir()
    codes = run_together(4, lambda rank: _convert(*arguments, places[1]), tmp_path / "out")
    first, *others = _outputs(tmp_path / "out")
    assert codes == [0] * 4, first
    assert run_together(1, lambda rank: _convert(*arguments, places[0])) == [0]
    assert snapshot(places[1]) == snapshot(places[0])
    assert "Conversion complete" in first
    assert others == [""] * 3


class _Trouble:
    """Something that happens to a process after its files; the others have not finished theirs."""

    def __init__(self, rank: int, what: Callable[[], object]) -> None:
        self._rank = rank
        self._what = what

    def convert(self, rank: int, source: Path, destination: Path) -> None:
        def write_and_wait(
            shards: Iterable[ShardPlan], directory: Path, progress: Callable[[int], None]
        ) -> None:
            write_shards(shards, directory, progress)
            if rank == self._rank:
                self._what()
            while True:
                progress(0)
                time.sleep(0.01)

        shard_writers.write_shards = write_and_wait  # type: ignore[attr-defined]
        _convert("--no-logit-check", source, destination)


def _fail() -> None:
    raise OSError(28, "No space left on device", "/shared")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        (_fail, 1, "/shared: No space left on device."),
        (_kill, -signal.SIGKILL, "was lost"),
        (_terminate, 128 + signal.SIGTERM, "It was stopped."),
    ],
    ids=["fails", "killed", "terminated"],
)
def test_trouble_of_one_process_ends_all(
    rank: int, what: Callable[[], object], code: int, message: str, source: Path, tmp_path: Path
) -> None:
    destination, outputs = tmp_path / "fg", tmp_path / "out"
    outputs.mkdir()
    trouble = _Trouble(rank, what)
    codes = run_together(4, lambda rank: trouble.convert(rank, source, destination), outputs)
    first, *others = _outputs(outputs)
    assert codes == [code if number == rank else 1 for number in range(4)], first
    assert not destination.exists()
    assert remains(destination) == []
    assert others == [""] * 3
    if rank > 0:
        assert message in first
        assert "was lost" in first or f"Process {rank} of 4 failed." in first


def test_an_error_in_planning_is_told_once(source: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    outputs.mkdir()
    missing = source / "missing"
    codes = run_together(2, lambda rank: _convert(missing, tmp_path / "fg"), outputs)
    assert codes == [1, 1]
    first, other = _outputs(outputs)
    assert "does not exist" in first
    assert other == ""


def test_variables_that_torchrun_does_not_set(source: Path, tmp_path: Path) -> None:
    environment = {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    result = forgather("convert", source, tmp_path / "fg", **environment)
    assert result.returncode == 1
    assert "RANK='2'" in result.stderr
