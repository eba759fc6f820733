"""The memory of large blocks that were freed is not kept."""

import ctypes
import sys
from pathlib import Path

import pytest

from forgather_convert.cli.freed_memory import return_freed_blocks
from support.processes import run_together

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's"),
    pytest.mark.version_independent,
]
MB = 2**20


def anonymous_memory() -> int:
    """The anonymous memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def kept_memory() -> int:
    """What is kept of 64 MB, in blocks of 1 MB, which were freed after a block of 16 MB."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.free(libc.malloc(16 * MB))
    before = anonymous_memory()
    blocks = []
    for _ in range(64):
        blocks.append(libc.malloc(MB))
        ctypes.memset(blocks[-1], 1, MB)
    # A block after them prevents the heap from shrinking.
    libc.malloc(2 * MB)
    for block in blocks:
        libc.free(block)
    return anonymous_memory() - before


def without_the_setting(_: int) -> None:
    assert kept_memory() > 32 * MB


def with_the_setting(_: int) -> None:
    return_freed_blocks()
    assert kept_memory() < 8 * MB


@pytest.mark.parametrize("run", [without_the_setting, with_the_setting])
def test_freed_blocks(run: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    assert callable(run)
    assert run_together(1, run) == [0]
