"""Flushes files and directories to the disk."""

import os
from pathlib import Path

from forgather_convert.files.file_errors import with_filename


def flush(path: Path) -> None:
    """Waits until a file or a directory is on the disk.

    Raises:
        OSError: It cannot be flushed.
    """
    with with_filename(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
