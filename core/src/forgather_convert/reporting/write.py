"""Writes a report atomically."""

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
from forgather_convert.reporting.report_path import check_report_path


def write_report(result: ConversionResult, path: Path, warnings: Sequence[str] = ()) -> None:
    """Writes a report of a conversion to a file, which is replaced if it exists.

    Args:
        result: The result of :func:`~forgather_convert.convert`.
        path: An ``.html`` file, which will be self-contained, or a ``.json`` file. Missing parent
            directories are created.
        warnings: The warnings of the conversion.

    Raises:
        ReportError: The path is not allowed, or the file cannot be written.
    """
    plan = result.plan
    check_report_path(path, (plan.source, plan.checkpoint, plan.destination))
    content = report_content(result, warnings)
    is_json = path.suffix == ".json"
    text = json.dumps(content, indent=2) + "\n" if is_json else render_page(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode("utf-8"))
    except OSError as error:
        raise ReportError(
            f"The report {path} cannot be written: {error.strerror}. Choose another path."
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Replaces a file once the new content is on the disk."""
    temporary = path.parent / f".forgather-report-{secrets.token_hex(8)}"
    try:
        # Not tempfile: the report should have the permissions of any new file.
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
