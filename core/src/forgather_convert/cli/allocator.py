"""Sets how the C library's allocator keeps freed memory."""

import os

from forgather_convert.files.c_library import c_function

#: Options in glibc's ``malloc.h``, with their variables in the environment; see mallopt(3).
_TRIM_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_")
_MMAP_THRESHOLD = (-3, "MALLOC_MMAP_THRESHOLD_")
_ARENA_MAX = (-8, "MALLOC_ARENA_MAX")
#: More than what is allocated and freed again and again, a piece or chunk of a tensor: the system
#: must clear each page of a block anew.
_LARGE = 5_000_000
_KEPT = 16_000_000


def limit_freed_memory() -> None:
    """Makes the C library return large blocks to the system, and use freed memory for all threads.

    By default, glibc only returns blocks that are larger than the largest one freed so far, and
    each thread keeps what it has freed, although the runs of a check, which are threads, allocate
    by turns. Does nothing for other C libraries, or for what the environment sets.
    """
    mallopt = c_function("mallopt")
    if mallopt is None:
        return
    settings = {_MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _KEPT, _ARENA_MAX: 1}
    for (option, variable), value in settings.items():
        if variable not in os.environ:
            mallopt(option, value)
