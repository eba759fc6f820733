"""The states of files, by which changes during a conversion are noticed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError


@dataclass(frozen=True)
class FileState:
    """The state of a file; if it differs later, the file has changed.

    The inode is not included: on some network file systems it changes although the file does not.

    Attributes:
        size: The size in bytes.
        modified: When the content changed last, in nanoseconds.
    """

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The present state of a file; links are followed.

        Raises:
            OSError: There is no such file.
        """
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


def states_of(paths: Iterable[Path]) -> Mapping[Path, FileState]:
    """The states of the files that exist."""
    return {path: FileState.of(path) for path in paths if path.exists()}


def check_unchanged(states: Mapping[Path, FileState]) -> None:
    """Refuses a result made from files that have changed meanwhile.

    Raises:
        SourceError: A file has changed, so that the result may be inconsistent.
    """
    for path, state in states.items():
        try:
            current = FileState.of(path)
        except OSError as error:
            raise SourceError(
                f"{path} no longer exists, or cannot be read: {error.strerror}. Nothing was "
                "written. Convert again when nothing else writes to the source."
            ) from error
        if current != state:
            sizes = f" from {state.size} to {current.size} bytes"
            what = sizes if current.size != state.size else ""
            raise SourceError(
                f"{path} changed{what} while it was converted. Is it still being written? "
                "Nothing was written. Convert again when nothing else writes to the source."
            )
