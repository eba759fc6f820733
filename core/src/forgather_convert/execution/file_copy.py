"""Copies whole files."""

import os
import stat
from pathlib import Path

from forgather_convert.execution.byte_copy import RangeCopy
from forgather_convert.files.file_errors import with_filename

_MAY_ALL = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


def copy_file(source: Path, destination: Path) -> None:
    """Copies a file's content and permissions.

    The permissions are restricted by the umask, and the owner may always read and write, since
    files in the Hub cache are read-only. The setuid, setgid and sticky bits and extended
    attributes are not copied.

    Raises:
        SourceError: The source became shorter while it was copied.
        OSError: It cannot be read, or the destination exists or cannot be written.
    """
    with with_filename(source), source.open("rb") as reading:
        status = os.fstat(reading.fileno())
        wanted = status.st_mode & _MAY_ALL | stat.S_IRUSR | stat.S_IWUSR

        def create(path: str, flags: int) -> int:
            # The kernel applies the umask, which cannot be read without changing it.
            return os.open(path, flags, wanted)

        with with_filename(destination), open(destination, "xb", opener=create) as writing:
            with with_filename(source, destination):
                RangeCopy(reading, 0, writing, 0, status.st_size).run(lambda count: None)
            mode = stat.S_IMODE(os.fstat(writing.fileno()).st_mode)
            os.fchmod(writing.fileno(), mode | stat.S_IRUSR | stat.S_IWUSR)
