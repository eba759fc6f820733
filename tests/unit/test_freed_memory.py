"""The memory of large blocks that were freed is not kept."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's"),
    pytest.mark.version_independent,
]

#: Prints what is kept of 64 blocks of 1 MB, in MB, that were freed after a block of 16 MB. It runs
#: in a process of its own: an older one may have all of this memory already.
KEPT_MEMORY = """
import ctypes
from forgather_convert.cli.freed_memory import return_freed_blocks

def anonymous_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("RssAnon:"))

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)
return_freed_blocks()
MB = 2**20
libc.free(libc.malloc(16 * MB))
before = anonymous_memory()
blocks = [libc.malloc(MB) for _ in range(64)]
for block in blocks:
    ctypes.memset(block, 1, MB)
# A block after them prevents the heap from shrinking.
libc.malloc(2 * MB)
for block in blocks:
    libc.free(block)
print(anonymous_memory() - before)
"""


@pytest.mark.parametrize("is_set", [True, False])
def test_freed_blocks(is_set: bool) -> None:
    """Nothing changes if the environment sets the threshold: here, to a value without effect."""
    environment = {} if is_set else {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}
    process = subprocess.run(
        [sys.executable, "-c", KEPT_MEMORY],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept = int(process.stdout)
    assert kept < 8 if is_set else kept > 32
