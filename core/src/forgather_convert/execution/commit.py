"""The moment in which the result appears."""

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
    """Moves a complete directory to its place, when all of it is on the disk.

    The destination is checked as it was at the start. Where the system can exchange two
    directories, it never lacks a model while one is replaced; elsewhere it does for a moment,
    and if that is when the process is killed, the next conversion puts the old model back.
    The replaced model is in the staging directory then, and goes away with it.

    Args:
        source: The model that was converted; the destination must not lie in it.
        staging: The directory with the result.
        overwrite: Whether a model at the destination is replaced.
        on_written: Called when the result is in its place, with the path that the user gave.
        progress: Called with the number of bytes that are on the disk since the last call.

    Raises:
        DestinationError: The destination may not or cannot be written; it is as it was.
        FlushError: The result is in its place, but may not survive a power failure.
    """
    destination = staging.destination
    for path in staging.content.iterdir():
        flush(path)
        progress(path.stat().st_size)
    flush(staging.content)
    # Not earlier: flushing takes its time, and may be interrupted.
    with deferred_signals():
        try:
            check_destination(source, destination, overwrite)
        except DestinationError as error:
            raise DestinationError(
                "The destination has changed during the conversion and was left alone, and "
                f"nothing was written. {error}"
            ) from error
        try:
            if os.path.lexists(destination.path):
                _replace(staging, on_written)
            else:
                rename_to_free(staging.content, destination.path)
        except FileExistsError as error:
            raise DestinationError(
                f"Something has appeared at {destination} in the last moment and was left alone. "
                "Nothing was written. Choose another place."
            ) from error
        except OSError as error:
            raise DestinationError(
                f"The model cannot be moved to {destination}: {error.strerror}. Nothing was "
                "written. Choose another place."
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
    """Lets the new model and the old one change places.

    What was moved away is checked again where it is now: nothing can appear in it unnoticed.

    Raises:
        DestinationError: The old one must be kept. If it cannot be put back, the new one is in
            its place, and ``on_written`` has been called.
        OSError: They cannot be moved.
    """
    place = staging.destination.path
    staging.content.chmod(stat.S_IMODE(place.stat().st_mode))
    if exchange(staging.content, place):
        try:
            check_replaceable(staging.destination, staging.content)
        except BaseException as error:
            try:
                exchange(staging.content, place)
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
    place.rename(moved_away)
    try:
        check_replaceable(staging.destination, moved_away)
        rename_to_free(staging.content, place)
    except BaseException as error:
        try:
            put_back(staging.directory)
        except OSError as failure:
            raise _not_put_back(staging, error, failure) from error
        raise


def _not_put_back(staging: Staging, error: BaseException, failure: OSError) -> DestinationError:
    """What is said where the old model is neither in its place nor replaced."""
    destination, moved_away = staging.destination, staging.moved_away
    if isinstance(failure, FileExistsError):
        return DestinationError(
            f"Something has appeared at {destination} in the last moment and was left alone. The "
            f"model that was there is in {moved_away}, and the new one was not written. Move the "
            "old one to another place."
        )
    reason = error.strerror if isinstance(error, OSError) else first_line(error)
    return DestinationError(
        f"The model that was at {destination} lies in {moved_away}: the new one cannot be moved to "
        f"its place ({reason}), nor can the old one be moved back ({failure.strerror}). Nothing "
        "was written. Check the disk, and move the old one back yourself."
    )
