"""Conversions in a process of their own, which wait before they move the result to its place."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgather_convert.execution.destination import resolve_destination
from forgather_convert.execution.staging import staging_path

# Signals are set to what they are for a command in a terminal: test runners may ignore some.
_RUN = """
import os, resource, signal, sys, time
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.{hangup})
from forgather_convert import api
from forgather_convert.cli.main import main

limit, pause = {limit}, {pause}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if pause:
    commit = api.commit

    def wait_and_commit(*arguments):
        Path(pause, "waiting").touch()
        while not Path(pause, "go").exists():
            time.sleep(0.01)
        commit(*arguments)

    api.commit = wait_and_commit
main()
"""


def start(
    *arguments: str | Path,
    limit: int = 0,
    pause: Path | None = None,
    hangup: str = "SIG_DFL",
) -> subprocess.Popen[str]:
    """Runs ``forgather convert`` in the background.

    Args:
        arguments: The command's.
        limit: No file can grow past this, in bytes.
        pause: A directory: when all is written and checked, ``waiting`` appears in it, and
            only when ``go`` does, the conversion goes on.
        hangup: What SIGHUP is set to before.
    """
    script = _RUN.format(limit=limit, pause=repr(str(pause)) if pause else None, hangup=hangup)
    return subprocess.Popen(
        [sys.executable, "-c", script, "convert", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def waiting_conversion(
    *arguments: str | Path, pause: Path, hangup: str = "SIG_DFL"
) -> Iterator[subprocess.Popen[str]]:
    """A conversion that has written everything and not yet moved it to its place."""
    pause.mkdir()
    process = start(*arguments, pause=pause, hangup=hangup)
    try:
        deadline = time.monotonic() + 120
        while not (pause / "waiting").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


def staging_of(destination: Path) -> Path:
    """The directory beside a destination in which its conversions write."""
    return staging_path(resolve_destination(destination))


def remains(destination: Path) -> list[str]:
    """What a conversion left beside its destination."""
    return [path.name for path in destination.parent.iterdir() if path.name.startswith(".")]
