"""Whether the destination's file system has room for a plan, before anything is written."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.execution.staging import Staging
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.tensors.byte_ranges import byte_ranges

#: From ``linux/fs.h``: lets a file share all blocks of another one.
_FICLONE = 0x40049409
_PROBE = "probe"


def free_bytes(directory: Path) -> int | None:
    """How much this user may still write; ``None`` where the file system does not say."""
    status = os.statvfs(directory)
    if status.f_blocks == 0:
        return None
    # Some blocks are reserved for the administrator.
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return blocks * status.f_frsize


def check_free_space(plan: ConversionPlan, staging: Staging, free: int | None) -> None:
    """Refuses a plan that needs more room than there is.

    Bytes that are copied need none where the file system lets files share them. Whether it does
    is tried, and only if there is no room otherwise.

    Args:
        plan: What will be written.
        staging: Where.
        free: How many bytes were free before the first of the plan's was written; ``None`` if
            the file system does not say.

    Raises:
        DestinationError: With the sizes.
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
            f"The conversion to {staging.destination} needs {needed} bytes, and {free} are free on "
            "the file system there. Nothing was written. Make room, or choose another place."
        )


def _copied(plan: ConversionPlan) -> Iterator[tuple[Path, int]]:
    """The files of which bytes are copied, with the number of bytes."""
    for copy in plan.copies:
        yield copy.source, copy.state.size
    for shard in plan.shards:
        # In a .bin file hardly any tensor begins at a place where it could share its blocks.
        for tensor in shard.tensors if shard.header is not None else ():
            for part in byte_ranges(tensor.expression) or ():
                yield part.file, part.size


def _can_share(source: Path, probe: Path) -> bool:
    """Whether a file can share the blocks of another one."""
    try:
        with source.open("rb") as reading, probe.open("wb") as writing:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
