"""Gives back the room of files while they are written, for models larger than the disk."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forgather_convert.files.c_library import c_function

#: ``FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`` of Linux.
_PUNCH = 0x01 | 0x02
#: What each file keeps: its header.
_KEPT = 16 << 20
_LEAST = 64 << 20
_INTERVAL = 0.05


@contextmanager
def giving_back(directory: Path) -> Iterator[None]:
    """Makes holes in the weights files below a directory, also while they are written.

    Their content must be zeros, as that of a sparse model is.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(_INTERVAL):
            # Files and directories get their final names meanwhile.
            with suppress(FileNotFoundError):
                for path in directory.rglob("*.safetensors"):
                    _give_back(path)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _give_back(path: Path) -> None:
    status = path.stat()
    if status.st_blocks * 512 < _LEAST:
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        place = ctypes.c_int64(_KEPT), ctypes.c_int64(status.st_size)
        if c_function("fallocate")(descriptor, _PUNCH, *place):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
