"""How long commands take that read no weights."""

import statistics
import sys
from pathlib import Path

from metered_process import run

FORGATHER = (sys.executable, "-m", "forgather_convert")
TITLES = ("", "median, s", "of python -c pass")


def rows(model: Path, rounds: int) -> list[tuple[str, ...]]:
    programs: dict[str, tuple[str | Path, ...]] = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "python -c 'import torch, transformers.modeling_utils'": (
            sys.executable,
            "-c",
            "import torch, transformers.modeling_utils",
        ),
        "forgather --help": (*FORGATHER, "--help"),
        "forgather inspect": (*FORGATHER, "inspect", model),
        "forgather convert --dry-run": (
            *FORGATHER,
            "convert",
            "--dry-run",
            model,
            model.with_name("none"),
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            seconds[name].append(run(program).wall)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        (name, f"{median:.2f}", f"{median / medians['python -c pass']:.1f}")
        for name, median in medians.items()
    ]
