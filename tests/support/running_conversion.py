"""Conversions in copies of this process, which wait before they move the result to its place."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from forgather_convert import api
from forgather_convert.cli.main import main
from forgather_convert.execution.commit import commit
from forgather_convert.execution.destination import resolve_destination
from forgather_convert.execution.staging import staging_path
from support.processes import ProcessCopy


def start(
    *arguments: str | Path,
    limit: int = 0,
    pause: Path | None = None,
    hangup: signal.Handlers = signal.SIG_DFL,
) -> ProcessCopy:
    """Runs ``forgather convert`` in the background.

    Args:
        arguments: The command's.
        limit: No file can grow past this, in bytes.
        pause: A directory: when all is written and checked, ``waiting`` appears in it, and
            only when ``go`` does, the conversion goes on.
        hangup: What SIGHUP is set to before.
    """

    def run() -> None:
        signal.signal(signal.SIGHUP, hangup)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run_conversion(*arguments, pause=pause)

    return ProcessCopy(run)


def run_conversion(*arguments: str | Path, pause: Path | None) -> None:
    """Runs ``forgather convert`` in this process, which ends."""

    def wait_and_commit(*arguments: Any) -> None:
        assert pause is not None
        (pause / "waiting").touch()
        while not (pause / "go").exists():
            time.sleep(0.01)
        commit(*arguments)

    if pause is not None:
        mock.patch.object(api, "commit", wait_and_commit).start()
    sys.argv = ["forgather", "convert", *map(str, arguments)]
    main()


@contextmanager
def waiting_conversion(
    *arguments: str | Path, pause: Path, hangup: signal.Handlers = signal.SIG_DFL
) -> Iterator[ProcessCopy]:
    """A conversion that has written everything and not yet moved it to its place."""
    pause.mkdir()
    with start(*arguments, pause=pause, hangup=hangup) as process:
        wait_for(pause, process)
        yield process


def wait_for(pause: Path, process: ProcessCopy | subprocess.Popen[str]) -> None:
    """Waits until a conversion waits."""
    deadline = time.monotonic() + 120
    while not (pause / "waiting").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def staging_of(destination: Path) -> Path:
    """The directory beside a destination in which its conversions write."""
    return staging_path(resolve_destination(destination))


def remains(destination: Path) -> list[str]:
    """What a conversion left beside its destination."""
    return [path.name for path in destination.parent.iterdir() if path.name.startswith(".")]
