"""The memory of blocks that were freed goes back to the system."""

import ctypes
import os
from collections.abc import Callable

import pytest

from forgather_convert.cli.allocator import limit_freed_memory
from forgather_convert.logit_check.freed_memory import FreedMemory
from support.memory import anonymous_memory
from support.processes import run_together

pytestmark = [
    pytest.mark.skipif(
        os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallopt"),
        reason="the settings are glibc's",
    ),
    pytest.mark.version_independent,
]
MB = 2**20
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")


def kept_memory(size: int, and_then: Callable[[], None] = lambda: None) -> int:
    """What is kept of 64 MB, in blocks of a size, which were freed after a block of 24 MB."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.free(libc.malloc(24 * MB))
    before = anonymous_memory()
    blocks = []
    for _ in range(64 * MB // size):
        blocks.append(libc.malloc(size))
        ctypes.memset(blocks[-1], 1, size)
    # A block after them prevents the heap from shrinking.
    libc.malloc(2 * MB)
    for block in blocks:
        libc.free(block)
    and_then()
    return anonymous_memory() - before


def large_blocks_with_the_limits(_: int) -> None:
    limit_freed_memory()
    assert kept_memory(8 * MB) < 8 * MB


def small_blocks_in_a_check(_: int) -> None:
    with FreedMemory() as freed:
        assert kept_memory(MB, freed.give_back) < 8 * MB


@pytest.mark.parametrize("run", [large_blocks_with_the_limits, small_blocks_in_a_check])
def test_freed_blocks(run: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert run_together(1, run) == [0]
