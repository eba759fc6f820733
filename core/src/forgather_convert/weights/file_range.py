"""A part of a file as a file of its own."""

import io
import os
from typing import BinaryIO


class FileRange(io.RawIOBase):
    """Consecutive bytes of a file that is open for reading; does not move the file's position."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._descriptor = file.fileno()
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        count = os.preadv(self._descriptor, [view], self._start + self._position) if view else 0
        self._position += count
        return count
