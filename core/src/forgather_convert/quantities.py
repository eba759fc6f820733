"""Formats numbers of things, sizes and durations for people."""


def counted(number: int, noun: str) -> str:
    """A number of things: ``"1 tensor"``, ``"1,024 tensors"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe_size(count: int) -> str:
    """A number of bytes, in the unit that fits: ``"13.5 GB"``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def describe_seconds(seconds: float) -> str:
    """A duration: ``"8.2 s"``, ``"12 min 5 s"``, ``"1 h 2 min"``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
