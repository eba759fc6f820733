"""Moves the complete result to its destination."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from forgather_convert.errors import DestinationError, FlushError, first_line
from forgather_convert.execution.atomic_rename import exchange, rename_to_free
from forgather_convert.execution.deferred_signals import deferred_signals
from forgather_convert.execution.destination import check_destination, check_replaceable
from forgather_convert.execution.flush import flush
from forgather_convert.execution.staging import Staging, put_back

OnWritten = Callable[[Path], None]


def commit(
    source: Path,
    staging: Staging,
    overwrite: bool,
    on_written: OnWritten,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Moves a complete directory to the destination, once all of it is on the disk.

    The destination is checked again, as at the start. If the system can exchange two directories
    atomically, there is a model at the destination at any time; otherwise there is none for a
    moment, and if the process is killed then, the next conversion puts the old model back. The
    replaced model is then in the staging directory and is removed with it.

    Args:
        source: The model that was converted; the destination must not be inside it.
        staging: The directory with the result.
        overwrite: Whether a model at the destination may be replaced.
        on_written: Called with the path that the user gave when the result is complete there.
        progress: Called with the number of bytes flushed to the disk since the last call.

    Raises:
        DestinationError: The destination may not or cannot be written; it is unchanged.
        FlushError: The result is complete, but may not survive a power failure.
    """
    destination = staging.destination
    for path in staging.content.iterdir():
        flush(path)
        progress(path.stat().st_size)
    flush(staging.content)
    # Not earlier: flushing takes a while and may be interrupted.
    with deferred_signals():
        try:
            check_destination(source, destination, overwrite)
        except DestinationError as error:
            raise DestinationError(
                "The destination changed during the conversion. It was left alone and nothing "
                f"was written. {error}"
            ) from error
        try:
            if os.path.lexists(destination.path):
                _replace(staging, on_written)
            else:
                rename_to_free(staging.content, destination.path)
        except FileExistsError as error:
            raise DestinationError(
                f"Something appeared at {destination} at the last moment. It was left alone and "
                "nothing was written. Choose another path."
            ) from error
        except OSError as error:
            raise DestinationError(
                f"The model cannot be moved to {destination}: {error.strerror}. Nothing was "
                "written. Choose another path."
            ) from error
        on_written(destination.given)
        try:
            flush(destination.parent)
        except OSError as error:
            raise FlushError(
                f"The result is complete at {destination}, but may not survive a power failure: "
                f"{destination.parent} cannot be flushed to the disk: {error.strerror}. Check the "
                "disk.",
                destination.given,
            ) from error


def _replace(staging: Staging, on_written: OnWritten) -> None:
    """Exchanges the new model and the old one.

    The old one is checked again after it was moved away, when nobody can add to it unnoticed.

    Raises:
        DestinationError: The old one must be kept. If it cannot be put back, the new one is at
            the destination, and ``on_written`` has been called.
        OSError: They cannot be moved.
    """
    destination = staging.destination.path
    staging.content.chmod(stat.S_IMODE(destination.stat().st_mode))
    if exchange(staging.content, destination):
        try:
            check_replaceable(staging.destination, staging.content)
        except BaseException as error:
            try:
                exchange(staging.content, destination)
            except OSError as failure:
                on_written(staging.destination.given)
                raise DestinationError(
                    f"The model that was there cannot be put back: {failure.strerror}. What is "
                    f"left of it is in {staging.content}."
                ) from error
            raise
        return
    moved_away = staging.moved_away
    moved_away.parent.mkdir(exist_ok=True)
    destination.rename(moved_away)
    try:
        check_replaceable(staging.destination, moved_away)
        rename_to_free(staging.content, destination)
    except BaseException as error:
        try:
            put_back(staging.directory)
        except OSError as failure:
            raise _not_put_back(staging, error, failure) from error
        raise


def _not_put_back(staging: Staging, error: BaseException, failure: OSError) -> DestinationError:
    """The error if the old model is neither at the destination nor replaced."""
    destination, moved_away = staging.destination, staging.moved_away
    if isinstance(failure, FileExistsError):
        return DestinationError(
            f"Something appeared at {destination} at the last moment and was left alone. The "
            f"model that was there is in {moved_away}, and the new one was not written. Move the "
            "old one somewhere else."
        )
    reason = error.strerror if isinstance(error, OSError) else first_line(error)
    return DestinationError(
        f"The model that was at {destination} is now in {moved_away}: neither can the new one be "
        f"moved there ({reason}), nor can the old one be moved back ({failure.strerror}). Nothing "
        "was written. Check the disk, and move the old one back yourself."
    )
