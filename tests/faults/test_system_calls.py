"""System calls that fail: Python, libraries and the kernel as they are."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.directories import snapshot
from support.faults import (
    SERVER_COMMAND,
    ended_of,
    planned_command,
    server_environment,
    warm_up_line,
)
from support.models import write_hf_model
from support.staged_models import OLD, write_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", _SMALL, dtype="bfloat16")


# Which call, how it fails, which one of them, and whether the result is there all the same.
@pytest.mark.parametrize(
    ("call", "error", "when", "is_there"),
    [
        ("fsync", "EIO", 1, False),
        # Python tries again.
        ("fsync", "EINTR", 2, True),
        ("copy_file_range", "EIO", 1, False),
        # It is copied by other means.
        ("copy_file_range", "EXDEV", 1, True),
        ("renameat2", "EIO", 1, False),
        # A system that has no such call.
        ("renameat2", "ENOSYS", "1+", True),
        ("fchmod", "EIO", 1, False),
    ],
)
def test_failing_system_call(
    source: Path, tmp_path: Path, call: str, error: str, when: int | str, is_there: bool
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed.")
    place = tmp_path / "place" / "out"
    place.parent.mkdir()
    write_model(place, OLD)
    command = planned_command(
        source, place, "--overwrite", root=tmp_path, plan_file=tmp_path / "plan", overwrite=True
    )
    log = tmp_path / "calls"
    result = subprocess.run(
        [
            *(strace, "-f", "--seccomp-bpf", "-o", str(log), "-e", f"trace={call}"),
            *("-e", f"inject={call}:error={error}:when={when}", *SERVER_COMMAND),
        ],
        env=server_environment(),
        input=warm_up_line(command),
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in result.stderr:
        pytest.skip("Processes cannot be traced here.")
    assert "(INJECTED)" in log.read_text()
    ended = ended_of(result.stdout)
    assert (ended.code == 0) == is_there, ended.errors
    assert "Traceback" not in ended.errors
    if is_there:
        assert (place / "config.json").read_bytes() != OLD["config.json"]
    else:
        assert "is complete" not in ended.errors
        assert snapshot(place) == OLD
    assert list(place.parent.iterdir()) == [place]
