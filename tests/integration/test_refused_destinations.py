"""Destinations that would cost the user something are refused."""

import shutil
import stat
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from forgather_convert import (
    DestinationError,
    api,
    convert,
)
from forgather_convert.execution.destination import Destination
from forgather_convert.execution.staging import Staging, staging_directory
from support.models import write_hf_model
from support.refusals import (
    LLAMA,
    assert_helps,
    assert_refused,
    unchanged,
)
from support.users import unprivileged

pytestmark = pytest.mark.version_independent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.mark.parametrize("kind", ["model", "empty", "file", "dangling"])
def test_destination_that_exists(source: Path, tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "out"
    if kind == "model":
        shutil.copytree(source, destination)
    elif kind == "empty":
        destination.mkdir()
    elif kind == "file":
        destination.write_text("mine")
    else:
        destination.symlink_to(tmp_path / "gone")
    assert_refused(source, DestinationError, destination, "exists", "--overwrite")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize(
    ("place", "word"),
    [("hf", "is the source itself"), ("hf/sub/out", "inside the source"), ("", "inside the dest")],
    ids=["same", "inside-source", "around-source"],
)
def test_destination_that_touches_the_source(
    source: Path, place: str, word: str, through_link: bool, overwrite: bool
) -> None:
    """The source is all that a user has; it must survive any mix-up of the arguments."""
    root = source.parent
    destination = root / place
    if through_link:
        (root / "link").symlink_to(root, target_is_directory=True)
        destination = root / "link" / place
    assert_refused(
        source, DestinationError, destination, word, destination=destination, overwrite=overwrite
    )


def test_source_that_is_a_link_to_the_destination(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source, target_is_directory=True)
    assert_refused(
        link, DestinationError, "is the source itself", destination=source, overwrite=True
    )


def test_destination_below_a_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    destination = tmp_path / "file" / "out"
    with unchanged(tmp_path), pytest.raises(DestinationError) as caught:
        convert(source, destination)
    assert_helps(str(caught.value), tmp_path / "file")


def test_destination_that_cannot_be_written(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's own directories cannot be entered by others.
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        root, locked = Path(name), Path(name) / "locked"
        shutil.copytree(source, root / "hf")
        locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)

        def give_up_rights_and_stage(destination: Destination) -> AbstractContextManager[Staging]:
            # Not before: the environment may be one that only the administrator can read.
            stack.enter_context(unprivileged(root))
            with pytest.raises(PermissionError):
                (locked / "probe").touch()
            return staging_directory(destination)

        monkeypatch.setattr(api, "staging_directory", give_up_rights_and_stage)
        with unchanged(root), pytest.raises(DestinationError) as caught:
            convert(root / "hf", locked / "out")
    assert_helps(str(caught.value), locked, "cannot be written")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("place", ["/proc/out", "/proc/sub/out"])
def test_destination_where_nothing_can_be_created(source: Path, place: str) -> None:
    """Not even by the administrator, who may write to any directory on a disk."""
    with unchanged(source), pytest.raises(DestinationError) as caught:
        convert(source, Path(place))
    assert_helps(str(caught.value), "/proc")
