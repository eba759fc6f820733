"""Returns freed memory to the system."""

import ctypes
import os

#: ``M_MMAP_THRESHOLD`` in glibc's ``malloc.h``, and its variable in the environment; mallopt(3).
_OPTION, _VARIABLE = -3, "MALLOC_MMAP_THRESHOLD_"
#: Its first value in glibc, in bytes.
_THRESHOLD = 128 * 1024


def return_freed_blocks() -> None:
    """Makes the C library return each large block to the system as soon as it is freed.

    By default, glibc only returns blocks that are larger than the largest one freed so far, and
    keeps others for later: tens of megabytes in a logit check. Does nothing for other C libraries,
    or if the environment sets the threshold.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and _VARIABLE not in os.environ:
        mallopt(_OPTION, _THRESHOLD)
