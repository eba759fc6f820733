"""Detects Git LFS pointers: files that stand in for large files that were not fetched.

The format, from https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a short text, whose
first line is the version.
"""

from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename

_FIRST_LINE = b"version https://git-lfs."


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer."""
    with with_filename(path), path.open("rb") as file:
        return file.read(len(_FIRST_LINE)) == _FIRST_LINE


def refuse_lfs_pointer(path: Path, beginning: bytes | None = None) -> None:
    """Refuses a file that is a Git LFS pointer.

    Args:
        path: The file.
        beginning: Its first bytes, if they are known.

    Raises:
        SourceError: It is a pointer.
    """
    if beginning is None:
        with with_filename(path), path.open("rb") as file:
            beginning = file.read(len(_FIRST_LINE))
    if beginning.startswith(_FIRST_LINE):
        raise SourceError(
            f"{path} is a Git LFS pointer: a short text in place of the file, which was not "
            "fetched. Run 'git lfs pull' in the repository, or download the model again."
        )
