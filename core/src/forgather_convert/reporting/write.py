"""Writes a report, complete or not at all."""

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from forgather_convert.api import ConversionResult
from forgather_convert.errors import ReportError
from forgather_convert.reporting.content import report_content
from forgather_convert.reporting.page import render_page
from forgather_convert.reporting.place import check_place


def write_report(result: ConversionResult, path: Path, warnings: Sequence[str] = ()) -> None:
    """Writes what a conversion did to a file, which is replaced if it exists.

    Args:
        result: What :func:`~forgather_convert.convert` gave.
        path: A file ``.html``, for a page that needs nothing else, or ``.json``. Missing
            directories above it are created.
        warnings: What the conversion warned of.

    Raises:
        ReportError: The file may not or cannot be written.
    """
    plan = result.plan
    check_place(path, (plan.source, plan.checkpoint, plan.destination))
    content = report_content(result, warnings)
    is_json = path.suffix == ".json"
    text = json.dumps(content, indent=2) + "\n" if is_json else render_page(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode("utf-8"))
    except OSError as error:
        raise ReportError(
            f"The report {path} cannot be written: {error.strerror}. Choose another place."
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Lets a file take the place of another one, when it is on the disk."""
    temporary = path.parent / f".forgather-report-{secrets.token_hex(8)}"
    try:
        # The file gets the permissions that any new one has.
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
