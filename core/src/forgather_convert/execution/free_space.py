"""Checks that the destination's file system has enough free space for a plan."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.execution.staging import Staging
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.tensors.byte_ranges import byte_ranges

#: From ``linux/fs.h``: makes a file share all blocks of another one.
_FICLONE = 0x40049409
_PROBE = "probe"


def free_bytes(directory: Path) -> int | None:
    """The free space for this user; ``None`` if the file system does not report it."""
    status = os.statvfs(directory)
    if status.f_blocks == 0:
        return None
    # Some blocks are reserved for the administrator.
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return blocks * status.f_frsize


def check_free_space(plan: ConversionPlan, staging: Staging, free: int | None) -> None:
    """Refuses a plan that needs more space than is free.

    Copied bytes need no space if the file system can share blocks between files. Whether it can
    is tried out, but only if there is not enough space otherwise.

    Args:
        plan: The plan.
        staging: The staging directory.
        free: How many bytes were free before anything was written; ``None`` if the file system
            does not report it.

    Raises:
        DestinationError: There is not enough free space.
    """
    needed = plan.num_bytes
    if free is None or needed <= free:
        return
    shares: dict[int, bool] = {}
    for source, size in _copied(plan):
        device = source.stat().st_dev
        if device not in shares:
            shares[device] = _can_share(source, staging.directory / _PROBE)
        needed -= size if shares[device] else 0
    if needed > free:
        raise DestinationError(
            f"The conversion to {staging.destination} needs {needed} bytes, but only {free} are "
            "free on that file system. Nothing was written. Free some space, or choose another "
            "path."
        )


def _copied(plan: ConversionPlan) -> Iterator[tuple[Path, int]]:
    """The files from which bytes are copied, each with the number of bytes."""
    for copy in plan.copies:
        yield copy.source, copy.state.size
    for shard in plan.shards:
        # In a .bin file hardly any tensor is aligned so that its blocks could be shared.
        for tensor in shard.tensors if shard.header is not None else ():
            for part in byte_ranges(tensor.expression) or ():
                yield part.file, part.size


def _can_share(source: Path, probe: Path) -> bool:
    """Whether a file can share the blocks of another one; tries it."""
    try:
        with source.open("rb") as reading, probe.open("wb") as writing:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
