"""Waits until what was written is on the disk."""

import os
from pathlib import Path

from forgather_convert.files.file_errors import with_filename


def flush(path: Path) -> None:
    """Flushes a file or a directory to the disk.

    Raises:
        OSError: It cannot be.
    """
    with with_filename(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
