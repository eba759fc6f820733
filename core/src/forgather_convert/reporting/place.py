"""Where a report may be written."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from forgather_convert.errors import ReportError

SUFFIXES = (".html", ".json")


def check_place(path: Path, models: Iterable[Path]) -> None:
    """Refuses a place where no report can be, or where it would get in the way of a model.

    Args:
        path: The file.
        models: The directories of models; they need not exist.

    Raises:
        ReportError: It is no ``.html`` or ``.json``; or it lies in one of the directories, or one
            of them in it; or something is there that is not a regular file.
    """
    if path.suffix not in SUFFIXES:
        raise ReportError(f"The report {path} must be a file {' or '.join(SUFFIXES)}.")
    try:
        place = Path(os.path.realpath(path.parent)) / path.name
        for model in models:
            real = Path(os.path.realpath(model))
            if place == real or real in place.parents or place in real.parents:
                raise ReportError(
                    f"The report {path} is in the way of the model {model}: it can be neither in "
                    "its directory nor above it. Choose another place."
                )
        parent = next(above for above in place.parents if above.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK)):
            raise ReportError(
                f"The report {path} cannot be written: {parent} is no directory that can be "
                "written. Choose another place."
            )
        if not _is_free(place):
            raise ReportError(
                f"{path} is there, and is not a regular file, so that the report does not replace "
                "it. Choose another place."
            )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ReportError(
            f"The report {str(path)!r} cannot be used: {reason}. Choose another place."
        ) from error


def _is_free(place: Path) -> bool:
    """Whether nothing is there, or a regular file; a link is none."""
    try:
        return stat.S_ISREG(place.lstat().st_mode)
    except FileNotFoundError:
        return True
