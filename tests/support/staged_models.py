"""Directories that pass for models where only names and bytes matter, staged and committed."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forgather_convert.execution import atomic_rename
from forgather_convert.execution.commit import commit
from forgather_convert.execution.destination import resolve_destination
from forgather_convert.execution.staging import staging_directory

NEW = {"config.json": b"new", "model.safetensors": b"new weights"}
OLD = {"config.json": b"old", "model.safetensors": b"old weights", "notes.txt": b"mine"}

_OVERWRITE_AND_DIE = """
import errno, os, signal, sys
from pathlib import Path

from forgather_convert.execution import atomic_rename, commit
from support.staged_models import write_result

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "between the renames":
    atomic_rename.call_renameat2 = lambda source, target, flags: errno.ENOSYS
    commit.rename_to_free = die
else:
    if sys.argv[2] == "after the renames":
        atomic_rename.call_renameat2 = lambda source, target, flags: errno.ENOSYS
    commit.flush = lambda path, flush=commit.flush: flush(path) if path.name != "place" else die()
write_result(Path(sys.argv[1]), overwrite=True)
"""


def write_model(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def write_result(
    destination: Path,
    overwrite: bool = False,
    before_commit: Callable[[], object] = lambda: None,
    on_written: Callable[[Path], None] = lambda path: None,
) -> None:
    """Does what a conversion does to its destination; the result is ``NEW``.

    Args:
        destination: The directory to write.
        overwrite: As in ``ConvertOptions``.
        before_commit: Called when everything is written.
        on_written: As for ``convert``.
    """
    with staging_directory(resolve_destination(destination)) as staging:
        for name, content in NEW.items():
            (staging.content / name).write_bytes(content)
        before_commit()
        commit(destination.parent / "no-source", staging, overwrite, on_written)


def forbid_renameat2(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    """Lets the system be one without ``renameat2``."""
    monkeypatch.setattr(atomic_rename, "call_renameat2", lambda source, target, flags: number)


def kill_while_overwriting(destination: Path, moment: str) -> None:
    """Overwrites a model in a process that is killed.

    Args:
        destination: A model, in a directory that is called ``place``.
        moment: ``"between the renames"`` or ``"after the renames"`` on a system that cannot
            exchange directories, or ``"after the exchange"``.
    """
    script = [sys.executable, "-c", _OVERWRITE_AND_DIE, str(destination), moment]
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        script, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert result.returncode == -9, result.stderr
