"""One path, one place: in the check, while writing, and at the end."""

import os
from pathlib import Path

import pytest

from forgather_convert import DestinationError
from forgather_convert.execution.destination import check_destination, resolve_destination
from forgather_convert.execution.staging import staging_path
from support.directories import snapshot
from support.staged_models import NEW, OLD, write_model, write_result

pytestmark = pytest.mark.version_independent


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a link ``link`` to ``deep/target``."""
    (tmp_path / "deep" / "target").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/target")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("out", "out"),
        ("out/", "out"),
        ("out/.", "out"),
        ("./out", "out"),
        ("deep/../out", "out"),
        ("link/out", "deep/target/out"),
        ("link/../out", "deep/out"),
        ("link/../../out", "out"),
        ("new/deeper/out", "new/deeper/out"),
        ("link/new/out", "deep/target/new/out"),
        ("link", "link"),
        ("link/", "link"),
        ("link/.", "link"),
        ("link/..", "deep"),
        ("deep/target/..", "deep"),
        ("loop", "loop"),
        ("dangling", "dangling"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_place_of_a_path(root: Path, given: str, place: str, absolute: bool) -> None:
    path = Path(f"{root}/{given}" if absolute else given)
    destination = resolve_destination(path)
    assert destination.path == root / place
    if not os.path.lexists(root / place):
        # What the kernel makes of it is the judge.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        assert (root / place).is_dir()


@pytest.mark.parametrize("given", ["new/out", "link/out", "link/../out", "deep/../new/out/"])
def test_result_is_where_the_kernel_finds_it(root: Path, given: str) -> None:
    write_result(Path(given))
    assert snapshot(Path(given)) == NEW
    assert not list(root.rglob(".*"))


def test_directory_of_the_current_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place stays where it was when the conversion began."""
    write_result(Path("out"), before_commit=lambda: monkeypatch.chdir(root / "deep"))
    assert snapshot(root / "out") == NEW


def test_what_dots_lead_to_is_protected(root: Path) -> None:
    """``link/..`` is not the directory that holds the link, whose model must not be judged."""
    write_model(root / "deep" / "target" / "checkpoint-1", OLD)
    (root / "deep" / "config.json").write_text("{}")
    before = snapshot(root)
    destination = resolve_destination(Path("link/.."))
    for overwrite, message in ((False, "exists"), (True, "checkpoint-1")):
        with pytest.raises(DestinationError, match=message) as caught:
            check_destination(root / "no-source", destination, overwrite)
        assert "link/.." in str(caught.value)
        assert str(root / "deep") in str(caught.value)
    assert snapshot(root) == before


@pytest.mark.parametrize("given", ["link/", "link/.", "loop", "dangling", "dangling/", "file"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_directory_is_refused(root: Path, given: str, overwrite: bool) -> None:
    with pytest.raises(DestinationError, match=given.rstrip("/.")):
        check_destination(root / "no-source", resolve_destination(Path(given)), overwrite)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/", "root directory"),
        ("/..", "root directory"),
        ("file/out", "file is not a directory"),
        ("file/new/out", "file is not a directory"),
        ("file/..", "Not a directory"),
        ("loop/out", "symbolic links"),
        ("loop/..", "symbolic links"),
        ("dangling/out", "dangling is a link to a path that does not exist"),
        ("dangling/../out", "does not exist"),
        ("new/../out", "Choose a path without '..'"),
        ("new/..", "No such file"),
        ("x" * 256, "too long"),
        ("ä" * 128, "too long"),
        ("a\0b", "null"),
    ],
)
def test_path_that_names_no_place(root: Path, given: str, message: str) -> None:
    with pytest.raises(DestinationError, match=message) as caught:
        resolve_destination(Path(given))
    assert "Choose" in str(caught.value)


@pytest.mark.parametrize("given", ["new/" + "x" * 256, "x" * 256 + "/out"])
def test_name_in_a_new_directory_that_is_too_long(root: Path, given: str) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(DestinationError, match="too long"):
        write_result(Path(given), before_commit=lambda: pytest.fail("It was found out too late."))
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["x" * 250, "x" * 255, "ä" * 127, "x" * 101])
@pytest.mark.parametrize("overwrite", [False, True])
def test_longest_names(root: Path, name: str, overwrite: bool) -> None:
    if overwrite:
        write_model(root / name, OLD)
    write_result(root / name, overwrite=overwrite)
    assert snapshot(root / name) == NEW
    assert not list(root.glob(".*"))


def test_long_names_with_the_same_beginning_have_staging_directories_of_their_own(
    root: Path,
) -> None:
    first, second = (staging_path(resolve_destination(root / ("x" * 200 + end))) for end in "ab")
    assert first != second
    assert first.parent == second.parent == root
