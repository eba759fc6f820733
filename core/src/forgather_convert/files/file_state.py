"""What a file was when it was first looked at, so that a change while it is read is noticed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError


@dataclass(frozen=True)
class FileState:
    """By what it is told that a file has changed.

    The inode is not part of it: some network file systems change it while the file stays.

    Attributes:
        size: In bytes.
        modified: When its content changed last, in nanoseconds.
    """

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The state of a file now; links are followed.

        Raises:
            OSError: There is no such file.
        """
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


def states_of(paths: Iterable[Path]) -> Mapping[Path, FileState]:
    """The states of those files that are there."""
    return {path: FileState.of(path) for path in paths if path.exists()}


def check_unchanged(states: Mapping[Path, FileState]) -> None:
    """Refuses what was made from files that have changed since.

    Args:
        states: What the files were before they were read.

    Raises:
        SourceError: One is not as it was, so that the result may be a mixture.
    """
    for path, state in states.items():
        try:
            current = FileState.of(path)
        except OSError as error:
            raise SourceError(
                f"{path} is not there any more, or cannot be read: {error.strerror}. Nothing was "
                "written. Convert again when nothing else writes to the source."
            ) from error
        if current != state:
            sizes = f" from {state.size} to {current.size} bytes"
            what = sizes if current.size != state.size else ""
            raise SourceError(
                f"{path} has changed{what} while it was converted. Is it still being written? "
                "Nothing was written. Convert again when nothing else writes to the source."
            )
