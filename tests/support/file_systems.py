"""File systems of their own for tests that need a full, a read-only or a special one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory: Path, *arguments: str | Path) -> Iterator[Path]:
    """Mounts a file system; the test is skipped where that is not possible.

    Args:
        directory: Where; it is created.
        arguments: What ``mount`` gets in front of it.
    """
    directory.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("Only the administrator can mount a file system.")
    result = subprocess.run(
        ["mount", *map(str, arguments), str(directory)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        pytest.skip(f"No file system can be mounted here: {result.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def forbid_writing(directory: Path) -> None:
    """Makes a second mount of a directory (``--bind``) one that cannot be written."""
    subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)


def image(path: Path, size: int, *make: str) -> Path:
    """A file with a file system in it; the test is skipped where its tools are missing.

    Args:
        path: The file to create.
        size: Its size in bytes; blocks are taken only when they are written.
        make: The command that makes the file system, without the file.
    """
    if shutil.which(make[0]) is None:
        pytest.skip(f"{make[0]} is not installed.")
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([*make, str(path)], check=True, capture_output=True)
    return path
