"""Runs a program and measures what it takes."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_INTERVAL = 0.02


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        wall: Seconds until its end.
        cpu: Seconds of computing, the kernel's for it included.
        anonymous: The most memory that it had allocated at a time, in bytes, where the system
            tells: mapped files do not count.
        written: Bytes that reached the file system, as far as the system counts them.
    """

    wall: float
    cpu: float
    anonymous: int
    written: int


def run(arguments: Sequence[str | Path]) -> Usage:
    """Runs a program to its end; ``sync`` is part of it.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [*map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = 0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, _anonymous(process.pid))
        time.sleep(_INTERVAL)
    _, status, usage = os.wait4(process.pid, 0)
    os.sync()
    wall = time.perf_counter() - start
    errors = process.stderr.read() if process.stderr is not None else b""
    if status != 0:
        raise subprocess.CalledProcessError(status, process.args, stderr=errors)
    return Usage(wall, usage.ru_utime + usage.ru_stime, peak, usage.ru_oublock * 512)


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def prepare(source: Path) -> None:
    """Writes out and forgets what other runs left, where that is allowed, and reads the source."""
    os.sync()
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    for path in sorted(source.rglob("*")):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass
