"""Returns memory that was freed to the system."""

import os
from pathlib import Path

from forgather_convert.files.c_library import c_function

#: How much memory may be added before what is free of it is returned, in bytes.
_ALLOWED = 16 * 2**20
#: The file with the sizes of this process in pages: in all, in memory, of that shared with files.
_SIZES = Path("/proc/self/statm")


class FreedMemory:
    """Watches how this process grows, and lets the C library return what is free.

    Blocks of many sizes come and go in a check, and each leaves a gap too small for the next.
    Does nothing where the C library or the system cannot do it.
    """

    def __init__(self) -> None:
        self._trim = c_function("malloc_trim") if _SIZES.exists() else None
        self._least = 0

    def give_back(self) -> None:
        """Returns free memory if much was added since the last time, and the first time."""
        if self._trim is None:
            return
        allocated = self._allocated()
        if allocated > self._least + _ALLOWED:
            self._trim(0)
            allocated = self._least = self._allocated()
        self._least = min(self._least, allocated)

    @staticmethod
    def _allocated() -> int:
        """The memory that does not belong to files, in bytes."""
        _, resident, shared, *_ = map(int, _SIZES.read_bytes().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
