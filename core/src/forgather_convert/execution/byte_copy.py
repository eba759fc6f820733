"""Copies byte ranges from file to file, inside the kernel where possible."""

import errno
import os
from collections.abc import Iterator
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


def copy_range(
    source: BinaryIO,
    offset: int,
    destination: BinaryIO,
    position: int,
    size: int,
    progress: Advance,
) -> None:
    """Copies bytes from one file into another, bypassing Python's buffers.

    File systems that can share blocks between files copy no whole block, if both offsets are
    equal modulo :data:`BLOCK`.

    Args:
        source: A file open for reading, by its path.
        offset: The offset of the bytes in it.
        destination: A file open for writing, by its path.
        position: The offset to write them at.
        size: The number of bytes.
        progress: Called with the number of bytes copied since the last call.

    Raises:
        SourceError: The source ends before the range does.
    """
    with with_filename(Path(source.name), Path(destination.name)):
        for start, length in _parts(offset, size, position):
            _copy_part(source, start, destination, position + start - offset, length, progress)


def write_at(file: BinaryIO, data: bytes | memoryview, position: int) -> None:
    """Writes all bytes at a position in a file."""
    view = memoryview(data)
    done = 0
    with with_filename(Path(file.name)):
        while done < len(view):
            done += os.pwrite(file.fileno(), view[done:], position + done)


def _parts(offset: int, size: int, position: int) -> Iterator[tuple[int, int]]:
    """Splits a range so that the whole blocks aligned in both files are a part of their own.

    A file system shares whole blocks only; asked for anything else, it copies everything.
    """
    first, end = offset + -offset % BLOCK, offset + size
    last = end - end % BLOCK
    if (position - offset) % BLOCK or first >= last:
        yield offset, size
        return
    for start, stop in ((offset, first), (first, last), (last, end)):
        if start < stop:
            yield start, stop - start


def _copy_part(
    source: BinaryIO,
    offset: int,
    destination: BinaryIO,
    position: int,
    size: int,
    progress: Advance,
) -> None:
    done = _copy_in_kernel(source, offset, destination, position, size, progress)
    while done < size:
        chunk = os.pread(source.fileno(), min(_CHUNK, size - done), offset + done)
        if not chunk:
            raise SourceError(f"{source.name} ended while it was read. Is it still being written?")
        write_at(destination, chunk, position + done)
        done += len(chunk)
        progress(len(chunk))


def _copy_in_kernel(
    source: BinaryIO,
    offset: int,
    destination: BinaryIO,
    position: int,
    size: int,
    progress: Advance,
) -> int:
    """Copies as much as the kernel can; returns the number of bytes."""
    if not hasattr(os, "copy_file_range"):
        return 0
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(
                source.fileno(),
                destination.fileno(),
                min(_KERNEL_CHUNK, size - done),
                offset_src=offset + done,
                offset_dst=position + done,
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
