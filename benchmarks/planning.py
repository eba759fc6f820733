"""What planning costs for the largest open models: CPU and memory, by the number of tensors."""

import shutil
import sys
from pathlib import Path

from largest_models import write_deepseek_v3
from metered_process import Usage, run

TITLES = ("DeepSeek-V3, planned", "tensors", "CPU, s", "beyond the imports, s", "memory, MB")
_FORGATHER = (sys.executable, "-m", "forgather_convert")
_IMPORTS = "import torch, transformers.modeling_utils"
#: As published, and less, to show how cost grows.
_LAYERS = (4, 16, 31, 61)


def rows(room: Path, rounds: int) -> list[tuple[str, ...]]:
    """A row for every size, with and without quantization; the best of the rounds."""
    imports = min(run((sys.executable, "-c", _IMPORTS)).cpu for _ in range(rounds))
    table = []
    for is_quantized in (False, True):
        for layers in _LAYERS:
            source = room / "hf"
            count = write_deepseek_v3(source, layers, is_quantized)
            options = ("--dequantize",) if is_quantized else ()
            label = f"{layers} layers, {'FP8' if is_quantized else 'bfloat16'}"
            inspected = _best((*_FORGATHER, "inspect", source), rounds)
            table.append(
                (f"inspect, {label}", str(count), f"{inspected.cpu:.1f}", "", _mb(inspected))
            )
            command = (*_FORGATHER, "convert", "--dry-run", *options, source, room / "none")
            planned = _best(command, rounds)
            beyond = f"{planned.cpu - imports:.1f}"
            table.append(
                (f"--dry-run, {label}", str(count), f"{planned.cpu:.1f}", beyond, _mb(planned))
            )
            shutil.rmtree(source)
    return table


def _best(program: tuple[str | Path, ...], rounds: int) -> Usage:
    return min((run(program) for _ in range(rounds)), key=lambda usage: usage.cpu)


def _mb(usage: Usage) -> str:
    return f"{usage.anonymous / 1e6:.0f}"
