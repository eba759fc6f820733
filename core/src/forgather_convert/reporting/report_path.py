"""Which paths a report may be written to."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from forgather_convert.errors import ReportError

SUFFIXES = (".html", ".json")


def check_report_path(path: Path, models: Iterable[Path]) -> None:
    """Refuses a path where a report cannot be written, or would collide with a model.

    Args:
        path: The path of the report.
        models: The directories of models; they need not exist.

    Raises:
        ReportError: The path does not end in ``.html`` or ``.json``, lies in or above a model's
            directory, or holds something that is not a regular file.
    """
    if path.suffix not in SUFFIXES:
        raise ReportError(f"The report {path} must be a file {' or '.join(SUFFIXES)}.")
    try:
        resolved = Path(os.path.realpath(path.parent)) / path.name
        for model in models:
            real = Path(os.path.realpath(model))
            if resolved == real or real in resolved.parents or resolved in real.parents:
                raise ReportError(
                    f"The report {path} collides with the model {model}: it must not be in the "
                    "model's directory or above it. Choose another path."
                )
        parent = next(above for above in resolved.parents if above.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK)):
            raise ReportError(
                f"The report {path} cannot be written: {parent} is not a writable directory. "
                "Choose another path."
            )
        if not _is_free(resolved):
            raise ReportError(
                f"{path} exists and is not a regular file, so the report does not replace it. "
                "Choose another path."
            )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ReportError(
            f"The report {str(path)!r} cannot be written: {reason}. Choose another path."
        ) from error


def _is_free(path: Path) -> bool:
    """Whether nothing exists there, or a regular file (not a symbolic link)."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
