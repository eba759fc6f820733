"""Runs the real command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def forgather(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather`` with arguments; output is captured, a failure is not an exception."""
    return subprocess.run(
        [sys.executable, "-m", "forgather_convert.cli.main", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
