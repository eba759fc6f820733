"""Adds file names to the errors of the operating system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def with_filename(*paths: Path) -> Iterator[None]:
    """Adds a file name to errors without one: those of reading, writing, flushing and closing.

    Args:
        paths: The file; or two files, if the system does not tell which of them it is.

    Raises:
        OSError: The error raised in the block.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = " or ".join(map(str, paths))
        raise
