"""Measures everything in one run, and prints one table for each size of model.

All that is compared runs in turn in every round, so that a slow moment of the machine meets all.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import conversions
import model_speed
import planning
import real_widths
import start_up
from largest_models import write_deepseek_v3
from metered_process import Usage
from real_models import LARGE, SHAPES, num_bytes, write_model

#: How many copies of a model are on the disk at a time.
_COPIES = 4.2
#: Layers of the model that is run: the time of a layer is what counts.
_FEW_LAYERS = 2
#: Layers of DeepSeek-V3: three without experts, and one with 256.
_LAYERS_WITH_EXPERTS = 4
_ALL_LAYERS = 61


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", nargs="*", choices=sorted(SHAPES), default=sorted(SHAPES), help="which models"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run")
    parser.add_argument("--directory", type=Path, help="on which disk; default: the system's")
    parser.add_argument(
        "--large-file", action="store_true", help="convert a model of 26 GB in one file, too"
    )
    parser.add_argument(
        "--planning", action="store_true", help="plan DeepSeek-V3 in several sizes, too"
    )
    parser.add_argument(
        "--widths", action="store_true", help="convert layers of each kind of model, too"
    )
    parser.add_argument(
        "--experts", action="store_true", help="convert four layers of DeepSeek-V3 (30 GB), too"
    )
    parser.add_argument(
        "--whole",
        type=Path,
        metavar="DIRECTORY",
        help="convert all of DeepSeek-V3, 1.3 TB of zeros, in a directory of a file system that "
        "claims to have room, such as one in memory: mount -t tmpfs -o size=3T tmpfs DIRECTORY",
    )
    options = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="forgather-bench-") as temporary:
        root = Path(temporary)
        print(f"{_machine(root)}\n")
        for size in options.sizes:
            needed, free = _COPIES * num_bytes(SHAPES[size]), shutil.disk_usage(root).free
            if needed > free:
                print(
                    f"{size}: left out, it takes {needed / 1e9:.0f} GB of {free / 1e9:.0f} free\n"
                )
                continue
            _measure_conversions(size, root / size, options.rounds)
        _measure_models(root / "few-layers", options.rounds)
        if options.planning:
            table = planning.rows(root / "planning", options.rounds)
            _print_table("Planning by the number of tensors", planning.TITLES, table)
        if options.large_file:
            _measure_large_file(root / "large-file")
        if options.widths:
            _print_table(
                "A few layers of real width", real_widths.TITLES, [*real_widths.rows(root)]
            )
        if options.experts:
            _measure_deepseek(
                root / "experts", _LAYERS_WITH_EXPERTS, conversions.measure_many_experts
            )
        if options.whole is not None:
            _measure_deepseek(options.whole / "whole", _ALL_LAYERS, conversions.measure_whole)


def _measure_conversions(size: str, room: Path, rounds: int) -> None:
    write_model(room / "hf", SHAPES[size])
    usages = conversions.measure(room / "hf", room, rounds)
    gigabytes = num_bytes(SHAPES[size]) / 1e9
    shared = "; the disk shares blocks between files" if _shares_blocks(room) else ""
    _print_table(
        f"{size}, {gigabytes:.1f} GB{shared}", conversions.TITLES, conversions.rows(usages)
    )
    _print_table(f"Start-up, {size}", start_up.TITLES, start_up.rows(room / "hf", rounds))
    shutil.rmtree(room)


def _measure_large_file(room: Path) -> None:
    write_model(room / "hf", LARGE, is_sparse=True)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    usages = conversions.measure_large_file(room / "hf", room)
    _print_table(
        f"One file of {num_bytes(LARGE) / 1e9:.0f} GB, {memory / 1e9:.0f} GB of memory, once",
        conversions.TITLES,
        conversions.rows(usages),
    )
    shutil.rmtree(room)


def _measure_deepseek(
    room: Path,
    layers: int,
    measure: Callable[[Path, Path], dict[str, list[Usage]]],
) -> None:
    room.mkdir()
    number = write_deepseek_v3(room / "hf", layers, is_quantized=False)
    gigabytes = sum(path.stat().st_size for path in (room / "hf").iterdir()) / 1e9
    usages = measure(room / "hf", room)
    _print_table(
        f"DeepSeek-V3, {layers} layers, {number} tensors, {gigabytes:.0f} GB, once",
        conversions.TITLES,
        conversions.rows(usages),
    )
    shutil.rmtree(room)


def _measure_models(room: Path, rounds: int) -> None:
    shape = replace(SHAPES["1B"], layers=_FEW_LAYERS)
    write_model(room / "hf", shape)
    subprocess.run([*map(str, (*conversions.CONVERT, room / "hf", room / "fg"))], check=True)
    _print_table(
        f"The model itself, {_FEW_LAYERS} layers of 1B, float32, CPU time on one thread",
        model_speed.TITLES,
        model_speed.rows(room / "hf", room / "fg", 3 * rounds),
    )


def _shares_blocks(room: Path) -> bool:
    """Whether the file system can make a copy that shares its blocks."""
    source = next((room / "hf").glob("*.json"))
    command = ["cp", "--reflink=always", str(source), str(room / "shared")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _machine(root: Path) -> str:
    packages = ("forgather-convert", "torch", "transformers")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    command = ["stat", "-f", "-c", "%T", str(root)]
    kind = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), disk: {kind or 'unknown'}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _print_table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return (
            "| " + " | ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]) + " |"
        )

    print(f"**{caption}**\n")
    print(line(titles))
    print("|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|")
    for row in rows:
        print(line(row))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
