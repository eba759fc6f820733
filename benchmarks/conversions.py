"""Conversions of a model, against copying it and against transformers."""

import shutil
import statistics
import sys
from pathlib import Path

from given_back import giving_back
from metered_process import Usage, prepare, run

CONVERT = (sys.executable, "-m", "forgather_convert", "convert", "-q")
UNCHECKED = "--no-logit-check"
#: What every conversion imports: the time to beat is that of a copy, and that of this.
IMPORTS = "from transformers import LlamaForCausalLM"
#: What one does without this tool: load, save under other names.
LOAD_RENAME_SAVE = """
import sys, torch
from transformers import LlamaForCausalLM
model = LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
names = {name: name.replace("model.", "causal_lm.", 1) for name in model.state_dict()}
state = {names[name]: tensor for name, tensor in model.state_dict().items()}
model.save_pretrained(sys.argv[2], state_dict=state)
"""

Program = tuple[str | Path, ...]


def contenders(hf: Path, fg: Path, fg_pytorch: Path, out: Path) -> dict[str, tuple[Path, Program]]:
    """Every program with the directory that it reads."""
    return {
        "cp -r": (hf, ("cp", "-r", hf, out)),
        "importing torch and transformers": (hf, (sys.executable, "-c", IMPORTS)),
        "load, rename, save (transformers)": (
            hf,
            (sys.executable, "-c", LOAD_RENAME_SAVE, hf, out),
        ),
        "to Forgather": (hf, (*CONVERT, UNCHECKED, hf, out)),
        "to Hugging Face": (fg, (*CONVERT, UNCHECKED, fg, out)),
        "to Forgather, checked": (hf, (*CONVERT, hf, out)),
        "to Hugging Face, checked": (fg, (*CONVERT, fg, out)),
        "to Forgather, float16": (hf, (*CONVERT, UNCHECKED, "--dtype", "float16", hf, out)),
        "to Hugging Face, float16": (fg, (*CONVERT, UNCHECKED, "--dtype", "float16", fg, out)),
        "to Forgather, as .bin": (hf, (*CONVERT, UNCHECKED, "--format", "pytorch", hf, out)),
        "to Hugging Face, from .bin": (fg_pytorch, (*CONVERT, UNCHECKED, fg_pytorch, out)),
    }


def measure(hf: Path, root: Path, rounds: int) -> dict[str, list[Usage]]:
    """Runs all contenders in turn, in the other direction in every second round."""
    fg, fg_pytorch, out = root / "fg", root / "fg-pytorch", root / "out"
    run((*CONVERT, UNCHECKED, hf, fg))
    run((*CONVERT, UNCHECKED, "--format", "pytorch", hf, fg_pytorch))
    programs = contenders(hf, fg, fg_pytorch, out)
    usages: dict[str, list[Usage]] = {name: [] for name in programs}
    for number in range(rounds):
        for name in reversed([*programs]) if number % 2 else programs:
            source, program = programs[name]
            prepare(source)
            usages[name].append(run(program))
            shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(fg_pytorch)
    return usages


def measure_large_file(source: Path, root: Path) -> dict[str, list[Usage]]:
    """Runs once what a file that is larger than memory could be too large for."""
    out = root / "out"
    programs: dict[str, Program] = {
        "cp -r": ("cp", "-r", "--sparse=never", source, out),
        "to Forgather": (*CONVERT, UNCHECKED, source, out),
        "to Forgather, float16": (*CONVERT, UNCHECKED, "--dtype", "float16", source, out),
        "to Forgather, as .bin": (*CONVERT, UNCHECKED, "--format", "pytorch", source, out),
    }
    return _once(programs, out)


def measure_many_experts(source: Path, root: Path) -> dict[str, list[Usage]]:
    """Runs once what the number of experts could make slow or large."""
    out = root / "out"
    programs: dict[str, Program] = {
        "cp -r": ("cp", "-r", "--sparse=never", source, out),
        "to Forgather": (*CONVERT, UNCHECKED, source, out),
        "to Forgather, checked": (*CONVERT, source, out),
    }
    return _once(programs, out)


def measure_whole(source: Path, root: Path) -> dict[str, list[Usage]]:
    """Runs once what takes more room than there is; what is written is given back at once."""
    out = root / "out"
    programs: dict[str, Program] = {
        "cp -r": ("cp", "-r", "--sparse=never", source, out),
        "to Forgather": (*CONVERT, UNCHECKED, source, out),
    }
    with giving_back(root):
        return _once(programs, out)


def _once(programs: dict[str, Program], out: Path) -> dict[str, list[Usage]]:
    usages = {}
    for name, program in programs.items():
        usages[name] = [run(program)]
        shutil.rmtree(out)
    return usages


def rows(usages: dict[str, list[Usage]]) -> list[tuple[str, ...]]:
    """The table's rows: seconds, the ratio to copying, and what else it takes."""
    copying = statistics.median(usage.wall for usage in usages["cp -r"])
    result = []
    for name, measured in usages.items():
        wall = [usage.wall for usage in measured]
        result.append(
            (
                name,
                f"{min(wall):.1f}",
                f"{statistics.median(wall):.1f}",
                f"{statistics.median(wall) / copying:.2f}",
                f"{statistics.median(usage.cpu for usage in measured):.1f}",
                f"{max(usage.anonymous for usage in measured) / 1e6:.0f}",
                f"{max(usage.written for usage in measured) / 1e9:.2f}",
            )
        )
    return result


TITLES = ("", "least, s", "median, s", "of cp -r", "CPU, s", "memory, MB", "written, GB")
