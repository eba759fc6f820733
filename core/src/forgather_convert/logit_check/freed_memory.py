"""Returns memory that was freed to the system."""

import os
from pathlib import Path

from forgather_convert.files.c_library import c_function

#: How much memory may be added before what is free of it is returned, in bytes.
_ALLOWED = 16 * 2**20
#: The file with the sizes of this process in pages: in all, in memory, of that shared with files.
_SIZES = Path("/proc/self/statm")
#: More bytes than it has: a few numbers.
_MOST = 256


class FreedMemory:
    """Watches how this process grows, and lets the C library return what is free.

    Blocks of many sizes come and go in a check, and each leaves a gap too small for the next.
    Within the context, the sizes are read from a file that stays open: they are read for each use
    of a parameter. Does nothing where the C library or the system cannot do it.
    """

    def __enter__(self) -> "FreedMemory":
        self._trim = c_function("malloc_trim")
        is_known = self._trim is not None and _SIZES.exists()
        self._sizes = os.open(_SIZES, os.O_RDONLY) if is_known else None
        self._least = 0
        return self

    def __exit__(self, *_: object) -> None:
        if self._sizes is not None:
            os.close(self._sizes)

    def give_back(self) -> None:
        """Returns free memory if much was added since the last time, and the first time."""
        if self._sizes is None or self._trim is None:
            return
        allocated = self._allocated(self._sizes)
        if allocated > self._least + _ALLOWED:
            self._trim(0)
            allocated = self._least = self._allocated(self._sizes)
        self._least = min(self._least, allocated)

    @staticmethod
    def _allocated(sizes: int) -> int:
        """The memory that does not belong to files, in bytes."""
        _, resident, shared, *_ = map(int, os.pread(sizes, _MOST, 0).split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
