"""Which file an error of the system is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def with_filename(*paths: Path) -> Iterator[None]:
    """Names a file in errors that name none: those of reading, writing, flushing and closing.

    Args:
        paths: The file; or both, where the system does not tell which of them it is.

    Raises:
        OSError: What was raised in the block.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = " or ".join(map(str, paths))
        raise
