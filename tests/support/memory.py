"""Measures the memory of conversions; run as a program in a process of its own.

``python -m support.memory JOBS`` converts models to Forgather and back and prints, as JSON, the
peaks of both conversions for each model of each job, in bytes. JOBS is JSON: a list of pairs of
fields of ``ConvertOptions`` and directories of models.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_INTERVAL = 0.005


def anonymous_memory() -> int:
    """The bytes that this process has allocated; mapped files are the kernel's to take back."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("This system does not tell the anonymous memory of a process.")


def peak_memory(action: Callable[[], object]) -> int:
    """Runs a function and gives the most anonymous memory that was seen meanwhile, in bytes."""
    peak = anonymous_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_INTERVAL):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        action()
    finally:
        done.set()
        watcher.join()
    return max(peak, anonymous_memory())


def measure_conversions(model: Path, fields: dict[str, Any]) -> tuple[int, int]:
    """The peaks of converting a model to Forgather and back; the results are removed."""
    from forgather_convert import ConvertOptions, convert

    options = ConvertOptions(**fields)
    fg, back = (model.with_name(f"{model.name}-{side}") for side in ("fg", "back"))
    try:
        there = peak_memory(lambda: convert(model, fg, options))
        shutil.rmtree(model)
        return there, peak_memory(lambda: convert(fg, back, options))
    finally:
        for directory in (fg, back):
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    peaks = [
        [measure_conversions(Path(model), fields) for model in models]
        for fields, models in json.loads(sys.argv[1])
    ]
    sys.stdout.write(json.dumps(peaks))
