"""Compares directories, byte by byte."""

from pathlib import Path


def differences(one: Path, other: Path) -> list[str]:
    """Like ``diff -r``: files that exist only on one side, and files that differ."""
    names = {path.relative_to(root) for root in (one, other) for path in root.rglob("*")}
    lines = []
    for name in sorted(names):
        left, right = one / name, other / name
        if not left.exists() or not right.exists():
            lines.append(f"only in {one if left.exists() else other}: {name}")
        elif left.is_file() and left.read_bytes() != right.read_bytes():
            lines.append(f"differs: {name}")
    return lines
