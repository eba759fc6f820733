"""Copies byte ranges from file to file, inside the kernel where possible."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.progress import Advance

#: The size of the blocks of most file systems, in bytes.
BLOCK = 4096
_CHUNK = 8 << 20
#: A call copies at most this much, so that progress is visible; a multiple of every block size.
_KERNEL_CHUNK = 64 << 20
#: What ``copy_file_range`` reports if the kernel or the file systems do not support it.
_UNSUPPORTED = frozenset(
    {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
)


@dataclass(frozen=True)
class RangeCopy:
    """Bytes to copy from one file into another.

    Attributes:
        source: A file open for reading, by its path.
        offset: The offset of the bytes in it.
        destination: A file open for writing, by its path.
        position: The offset to write them at.
        size: The number of bytes.
    """

    source: BinaryIO
    offset: int
    destination: BinaryIO
    position: int
    size: int

    def run(self, progress: Advance) -> None:
        """Copies the bytes, bypassing Python's buffers.

        File systems that can share blocks between files copy no whole block, if both offsets are
        equal modulo :data:`BLOCK`.

        Raises:
            SourceError: The source ends before the range does.
        """
        with with_filename(Path(self.source.name), Path(self.destination.name)):
            for part in self._parts():
                part._run(progress)

    def _parts(self) -> Iterator["RangeCopy"]:
        """Splits the range so that whole blocks aligned in both files are a part of their own.

        A file system shares whole blocks only; asked for anything else, it copies everything.
        """
        first, end = self.offset + -self.offset % BLOCK, self.offset + self.size
        last = end - end % BLOCK
        if (self.position - self.offset) % BLOCK or first >= last:
            yield self
            return
        for start, stop in ((self.offset, first), (first, last), (last, end)):
            if start < stop:
                position = self.position + start - self.offset
                yield replace(self, offset=start, position=position, size=stop - start)

    def _run(self, progress: Advance) -> None:
        done = self._run_in_kernel(progress)
        while done < self.size:
            wanted = min(_CHUNK, self.size - done)
            chunk = os.pread(self.source.fileno(), wanted, self.offset + done)
            if not chunk:
                raise SourceError(
                    f"{self.source.name} ended while it was read. Is it still being written?"
                )
            write_at(self.destination, chunk, self.position + done)
            done += len(chunk)
            progress(len(chunk))

    def _run_in_kernel(self, progress: Advance) -> int:
        """Copies as much as the kernel can; returns the number of bytes."""
        if not hasattr(os, "copy_file_range"):
            return 0
        done = 0
        while done < self.size:
            try:
                count = os.copy_file_range(
                    self.source.fileno(),
                    self.destination.fileno(),
                    min(_KERNEL_CHUNK, self.size - done),
                    offset_src=self.offset + done,
                    offset_dst=self.position + done,
                )
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    return done
                raise
            if count == 0:
                # Some file systems return 0 instead of an error; reading detects a short source.
                return done
            done += count
            progress(count)
        return done


def write_at(file: BinaryIO, data: bytes | memoryview, position: int) -> None:
    """Writes all bytes at a position in a file."""
    view = memoryview(data)
    done = 0
    with with_filename(Path(file.name)):
        while done < len(view):
            done += os.pwrite(file.fileno(), view[done:], position + done)
