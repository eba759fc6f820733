"""Compares directories, byte by byte."""

from pathlib import Path

from forgather_convert.testing.directories import differences

__all__ = ["differences", "snapshot"]


def snapshot(directory: Path) -> dict[str, bytes]:
    """The content of every file below a directory, by its relative name."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
