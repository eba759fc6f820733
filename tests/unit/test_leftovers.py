"""What killed conversions leave: no model is ever lost, and nothing in use is touched."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forgather_convert import DestinationError
from forgather_convert.execution.destination import resolve_destination
from forgather_convert.execution.staging import staging_directory, staging_path
from forgather_convert.execution.staging_lock import InUseError, lock_directory
from support.directories import snapshot
from support.staged_models import (
    NEW,
    OLD,
    kill_while_overwriting,
    write_model,
    write_result,
)

pytestmark = pytest.mark.version_independent

BETWEEN = "between the renames"
AFTER = "after the exchange"
AFTER_RENAMES = "after the renames"

_CONTEND = """
import os, sys, time
from pathlib import Path
from forgather_convert.execution.staging_lock import InUseError, lock_directory

path, owner, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
had = 0
while had < rounds:
    try:
        lock = lock_directory(path)
    except InUseError:
        continue
    os.close(os.open(owner, os.O_CREAT | os.O_EXCL))
    (path / "model").mkdir()
    os.unlink(owner)
    (path / "model").rmdir()
    lock.release()
    had += 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


@pytest.fixture
def moved_away(place: Path) -> Path:
    """A destination whose model was moved away when the conversion was killed."""
    kill_while_overwriting(write_model(place, OLD), BETWEEN)
    assert not place.exists()
    return place


@pytest.mark.parametrize("spelling", ["out", "out/", "./out", "link/out", "other/../out"])
def test_old_model_is_put_back_by_the_next_conversion(moved_away: Path, spelling: str) -> None:
    """Before it does anything else."""
    (moved_away.parent / "other").mkdir()
    (moved_away.parent / "link").symlink_to(moved_away.parent)
    destination = resolve_destination(Path(f"{moved_away.parent}/{spelling}"))
    with staging_directory(destination):
        assert snapshot(moved_away) == OLD
    assert snapshot(moved_away) == OLD
    assert not list(moved_away.parent.glob(".*"))


def test_old_model_is_put_back_by_a_conversion_to_another_place(moved_away: Path) -> None:
    write_result(moved_away.with_name("another"))
    assert snapshot(moved_away) == OLD
    # Nothing is left in it; it goes with the next conversion to its own place.
    write_result(moved_away, overwrite=True)
    assert snapshot(moved_away) == NEW
    assert not list(moved_away.parent.glob(".*"))


def test_old_model_is_kept_if_its_place_is_taken(
    moved_away: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of the two is what an --overwrite may remove: the user decides."""
    write_model(moved_away, {"config.json": b"other"})
    before = snapshot(moved_away.parent)
    for overwrite in (False, True):
        with pytest.raises(DestinationError, match="cannot be put back") as caught:
            write_result(moved_away, overwrite=overwrite)
        (kept,) = moved_away.parent.glob(".out.partial-*/replaced")
        assert str(kept) in str(caught.value)
        assert snapshot(moved_away.parent) == before
    write_result(moved_away.with_name("another"))
    assert str(kept) in caplog.text
    assert snapshot(kept / "out") == OLD


@pytest.mark.parametrize(("moment", "where"), [(AFTER, "model"), (AFTER_RENAMES, "replaced/out")])
def test_replaced_model_is_removed_by_the_next_conversion(
    place: Path, moment: str, where: str
) -> None:
    """The new one is in its place; the old one was replaced on purpose."""
    kill_while_overwriting(write_model(place, OLD), moment)
    assert snapshot(place) == NEW
    (leftover,) = place.parent.glob(f".out.partial-*/{where}")
    assert snapshot(leftover) == OLD
    with staging_directory(resolve_destination(place)) as staging:
        assert list(staging.content.iterdir()) == []
    assert snapshot(place) == NEW
    assert not list(place.parent.glob(".*"))


def test_replaced_model_is_put_back_if_its_place_is_empty(place: Path) -> None:
    """Somebody has moved the new model away: the old one is all that there is."""
    kill_while_overwriting(write_model(place, OLD), AFTER_RENAMES)
    place.rename(place.with_name("kept"))
    write_result(place.with_name("another"))
    assert snapshot(place) == OLD


def test_checkpoints_in_a_leftover_are_kept(place: Path) -> None:
    """A training that still had the directory open has written into it."""
    kill_while_overwriting(write_model(place, OLD), AFTER)
    (leftover,) = place.parent.glob(".out.partial-*/model")
    (leftover / "checkpoint-9").mkdir()
    with pytest.raises(DestinationError, match="checkpoint-9") as caught:
        write_result(place, overwrite=True)
    assert str(leftover) in str(caught.value)
    assert (leftover / "checkpoint-9").is_dir()
    assert snapshot(place) == NEW


def test_leftover_of_another_destination_is_not_removed(place: Path) -> None:
    kill_while_overwriting(write_model(place, OLD), AFTER)
    before = snapshot(place.parent)
    write_result(place.with_name("another"))
    assert snapshot(place.parent) == before | {f"another/{name}": NEW[name] for name in NEW}


def test_what_is_in_use_is_not_touched(moved_away: Path) -> None:
    lock = lock_directory(staging_path(resolve_destination(moved_away)))
    before = snapshot(moved_away.parent)
    with pytest.raises(DestinationError, match="is running"):
        write_result(moved_away, overwrite=True)
    write_result(moved_away.with_name("another"))
    assert snapshot(moved_away.parent).items() >= before.items()
    assert not moved_away.exists()
    lock.release()
    write_result(moved_away.with_name("third"))
    assert snapshot(moved_away) == OLD


def test_old_model_that_cannot_be_removed_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The result is there all the same."""
    write_model(place, OLD)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    write_result(place, overwrite=True)
    assert snapshot(place) == NEW
    (left,) = place.parent.glob(".out.partial-*/model")
    assert f"{left} cannot be removed" in caplog.text


def test_signal_while_cleaning_up_waits_until_all_is_clean(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def arrive_and_remove(path: Path, ignore_errors: bool) -> None:
        signal.raise_signal(signal.SIGINT)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", arrive_and_remove)
    with pytest.raises(KeyboardInterrupt):
        write_result(place / "out", before_commit=lambda: 1 / 0)
    assert list(place.parent.iterdir()) == []


def test_something_else_by_the_name_of_the_staging_directory(place: Path) -> None:
    """A link there leads out of the place; nothing is done through it."""
    elsewhere = write_model(place.parent.parent / "elsewhere", OLD)
    staging_path(resolve_destination(place)).symlink_to(elsewhere)
    with pytest.raises(DestinationError, match="Not a directory"):
        write_result(place)
    assert snapshot(elsewhere) == OLD


# Locks


def test_directory_without_room_for_the_lock_is_not_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory may take the last block of a disk."""
    open_file = os.open

    def fail(path: Path, *arguments: int) -> int:
        if str(path).endswith(".lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(DestinationError, match="No space left on device"):
        write_result(place)
    assert list(place.parent.iterdir()) == []


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """Also while it is removed and created again all the time."""
    arguments = [str(tmp_path / "shared"), str(tmp_path / "owner"), "400"]
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", _CONTEND, *arguments], stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    errors = [contender.communicate(timeout=120)[1] for contender in contenders]
    assert errors == ["", "", ""]
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_file_system_without_locks(
    tmp_path: Path, is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who creates the directory has it; what is there already may be in use."""

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    path = tmp_path / "shared"
    if is_new:
        lock_directory(path).release()
        assert not path.exists()
        return
    path.mkdir()
    with pytest.raises(InUseError, match="without locks"):
        lock_directory(path)
