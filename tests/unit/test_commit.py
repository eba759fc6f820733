"""What happens to a destination when a result takes its place."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forgather_convert import DestinationError, FlushError
from forgather_convert.execution import commit as commit_module
from forgather_convert.execution import staging as staging_module
from forgather_convert.execution.atomic_rename import exchange, rename_to_free
from forgather_convert.execution.destination import Destination, check_destination
from forgather_convert.execution.flush import flush
from support.directories import snapshot
from support.staged_models import NEW, OLD, forbid_renameat2, write_model, write_result

pytestmark = pytest.mark.version_independent

_POLL = """
import os, sys
path = sys.argv[1]
absent = polls = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    polls += 1
    absent += not os.path.exists(path + "/config.json")
print(absent, polls)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


@pytest.fixture(params=["renameat2", "plain"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system call that exchanges directories, and without it."""
    if request.param == "plain":
        forbid_renameat2(monkeypatch)
    return str(request.param)


def is_alone(place: Path) -> bool:
    return list(place.parent.iterdir()) == [place]


# What appears meanwhile


def _checkpoint(place: Path) -> None:
    (place / "checkpoints" / "checkpoint-9").mkdir(parents=True)


def _file(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("mine")


def _link(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(write_model(place.parent.parent / "linked", OLD))


def _dangling_link(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(place.parent / "gone")


def _foreign_directory(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "thesis.tex").write_text("mine")


def _run_directory(place: Path) -> None:
    """A training that writes its model beside its checkpoints."""
    shutil.rmtree(place, ignore_errors=True)
    write_model(place, OLD)
    (place / "checkpoint-9").mkdir()


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize(
    "appear", [_checkpoint, _file, _link, _dangling_link, _foreign_directory, _run_directory]
)
def test_overwriting_leaves_alone_what_appears_meanwhile(
    place: Path, was_there: bool, appear: Callable[[Path], None], each_way: str
) -> None:
    if was_there:
        write_model(place, OLD)
    found: list[dict[str, bytes]] = []

    def interfere() -> None:
        appear(place)
        found.append(snapshot(place.parent))

    with pytest.raises(DestinationError, match="was left alone") as caught:
        write_result(place, overwrite=True, before_commit=interfere)
    assert str(place) in str(caught.value)
    assert "othing was written" in str(caught.value)
    left = snapshot(place.parent)
    assert left == {name: data for name, data in found[0].items() if "partial" not in name}
    assert os.path.lexists(place)
    assert is_alone(place)
    assert place.is_symlink() == (appear in (_link, _dangling_link))


def test_a_model_that_appears_meanwhile_is_overwritten_like_one_that_was_there(
    place: Path, each_way: str
) -> None:
    write_result(place, overwrite=True, before_commit=lambda: write_model(place, OLD))
    assert snapshot(place) == NEW
    assert is_alone(place)


@pytest.mark.parametrize("appear", [_foreign_directory, _file, _link, Path.mkdir])
def test_without_overwriting_nothing_is_replaced(
    place: Path, appear: Callable[[Path], None], each_way: str
) -> None:
    with pytest.raises(DestinationError, match="was left alone"):
        write_result(place, before_commit=lambda: appear(place))
    assert os.path.lexists(place)
    assert not (place / "model.safetensors").exists() or place.is_symlink()
    assert is_alone(place)


def _after_the_check(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    def check_and_act(source: Path, destination: Destination, overwrite: bool) -> None:
        check_destination(source, destination, overwrite)
        action()

    monkeypatch.setattr(commit_module, "check_destination", check_and_act)


def test_checkpoint_that_appears_after_the_last_check(
    place: Path, each_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved away is looked at once more, before it is removed."""
    write_model(place, OLD)
    _after_the_check(monkeypatch, lambda: _checkpoint(place))
    with pytest.raises(DestinationError, match="checkpoint-9"):
        write_result(place, overwrite=True)
    assert (place / "checkpoints" / "checkpoint-9").is_dir()
    assert snapshot(place) == OLD
    assert is_alone(place)


def test_checkpoint_that_cannot_be_put_back_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The new model is in its place, which is said, and what was there is not removed."""
    write_model(place, OLD)
    _after_the_check(monkeypatch, lambda: _checkpoint(place))
    calls: list[Path] = []

    def exchange_once(first: Path, second: Path) -> bool:
        calls.append(first)
        if len(calls) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return exchange(first, second)

    monkeypatch.setattr(commit_module, "exchange", exchange_once)
    written: list[Path] = []
    with pytest.raises(DestinationError, match="cannot be put back: Input/output error") as caught:
        write_result(place, overwrite=True, on_written=written.append)
    assert written == [place]
    assert snapshot(place) == NEW
    (kept,) = place.parent.glob(".*/model")
    assert str(kept) in str(caught.value)
    assert "checkpoint-9" in caplog.text
    assert (kept / "checkpoints" / "checkpoint-9").is_dir()
    assert snapshot(kept) == OLD


def test_destination_that_appears_after_the_last_check(
    place: Path, each_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _after_the_check(monkeypatch, lambda: write_model(place, OLD))
    exists = os.path.lexists
    # What is looked at is past before it is acted on.
    monkeypatch.setattr(os.path, "lexists", lambda path: path != place and exists(path))
    with pytest.raises(DestinationError):
        write_result(place)
    assert snapshot(place) == OLD


# Exchanging


def test_destination_is_never_absent_while_it_is_overwritten(place: Path) -> None:
    write_model(place, OLD)
    stop = place.parent.parent / "stop"
    poll = subprocess.Popen(
        [sys.executable, "-c", _POLL, str(place), str(stop)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert poll.stdout is not None
        assert poll.stdout.readline() == "ready\n"
        for _ in range(200):
            write_result(place, overwrite=True)
        stop.touch()
        absent, polls = poll.communicate(timeout=60)[0].split()
    finally:
        poll.kill()
    assert int(polls) > 200
    assert int(absent) == 0


def test_the_system_call_exchanges(tmp_path: Path) -> None:
    """Every file system that Linux is usually installed on has it."""
    old, new = write_model(tmp_path / "old", OLD), write_model(tmp_path / "new", NEW)
    assert exchange(old, new) == (sys.platform == "linux")
    assert snapshot(old) == (NEW if sys.platform == "linux" else OLD)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM])
def test_what_cannot_be_exchanged_is_renamed_twice(
    place: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_renameat2(monkeypatch, number)
    write_model(place, OLD)
    write_result(place, overwrite=True)
    assert snapshot(place) == NEW
    assert is_alone(place)


def test_renaming_to_a_free_name_replaces_nothing(tmp_path: Path, each_way: str) -> None:
    new, empty = write_model(tmp_path / "new", NEW), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileExistsError):
        rename_to_free(new, empty)
    assert snapshot(new) == NEW
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("interruption", "raised"),
    [
        (OSError(errno.EIO, "broken"), DestinationError),
        (FileExistsError(errno.EEXIST, "there"), DestinationError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_old_model_returns_if_the_new_one_cannot_take_its_place(
    place: Path,
    interruption: BaseException,
    raised: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two renames there is no model at the destination."""
    forbid_renameat2(monkeypatch)
    write_model(place, OLD)

    def fail(source: Path, target: Path) -> None:
        assert not target.exists()
        raise interruption

    monkeypatch.setattr(commit_module, "rename_to_free", fail)
    with pytest.raises(raised):
        write_result(place, overwrite=True)
    assert snapshot(place) == OLD
    assert is_alone(place)


def test_old_model_that_cannot_return_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Something takes the place between the two renames."""
    forbid_renameat2(monkeypatch)
    write_model(place, OLD)

    def appear(source: Path, target: Path) -> None:
        write_model(target, {"config.json": b"other"})
        rename_to_free(source, target)

    monkeypatch.setattr(commit_module, "rename_to_free", appear)
    with pytest.raises(DestinationError, match="was left alone"):
        write_result(place, overwrite=True)
    assert snapshot(place) == {"config.json": b"other"}
    (kept,) = place.parent.glob(".out.partial-*/replaced/out")
    assert snapshot(kept) == OLD
    assert str(kept.parent) in caplog.text


@pytest.mark.parametrize("is_kept", [True, False], ids=["checkpoint", "disk"])
def test_where_the_old_model_lies_is_said_if_the_disk_stays_broken(
    place: Path, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was moved aside, and then nothing can be moved any more."""
    forbid_renameat2(monkeypatch)
    write_model(place, OLD)

    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(staging_module, "rename_to_free", fail)
    if is_kept:
        _after_the_check(monkeypatch, lambda: _checkpoint(place))
    else:
        monkeypatch.setattr(commit_module, "rename_to_free", fail)
    with pytest.raises(DestinationError, match="Nothing was written") as caught:
        write_result(place, overwrite=True)
    (kept,) = place.parent.glob(".out.partial-*/replaced/out")
    assert snapshot(kept) == OLD
    assert f"The model that was at {place} is now in {kept}" in str(caught.value)
    assert not place.exists()


# Modes


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_new_directory_follows_the_umask(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_result(place)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2775])
def test_overwritten_directory_keeps_its_mode(place: Path, mode: int, each_way: str) -> None:
    write_model(place, OLD).chmod(mode)
    write_result(place, overwrite=True)
    assert snapshot(place) == NEW
    assert stat.S_IMODE(place.stat().st_mode) == mode


# The result is there


def test_flush_that_fails_after_the_rename_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        if path == place.parent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(path)

    monkeypatch.setattr(commit_module, "flush", fail)
    written: list[Path] = []
    with pytest.raises(FlushError, match=f"The result is complete at {place}") as caught:
        write_result(place, on_written=written.append)
    assert caught.value.written == place
    assert written == [place]
    assert snapshot(place) == NEW
    assert is_alone(place)


@pytest.mark.parametrize("old", [True, False])
def test_signal_while_committing_waits_until_the_result_is_there(
    place: Path, old: bool, each_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:
        write_model(place, OLD)
    _after_the_check(monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    written: list[Path] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        write_result(place, overwrite=True, on_written=written.append)
    assert signal.getsignal(signal.SIGINT) is before
    assert written == [place]
    assert snapshot(place) == NEW
    assert is_alone(place)
