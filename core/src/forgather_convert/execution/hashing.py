"""Hashes of the files written."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from forgather_convert.files.file_errors import with_filename

_CHUNK = 8 << 20


def hash_files(directory: Path, progress: Callable[[int], None]) -> dict[str, str]:
    """The SHA-256 of every file in a directory, in hexadecimal, by file name.

    All bytes are read again: those copied by the kernel were never in this process's memory.
    """
    hashes = {}
    for path in sorted(directory.iterdir()):
        digest = hashlib.sha256()
        with with_filename(path), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                progress(len(chunk))
        hashes[path.name] = digest.hexdigest()
    return hashes
