"""Directories with what is no file in them: refused with its name, or left out; nothing waits."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from forgather_convert import SourceError, convert, plan
from support.command import forgather
from support.log import logged
from support.models import write_hf_model
from support.refusals import LLAMA, assert_refused
from support.tokenizer_files import write_tokenizer

pytestmark = pytest.mark.version_independent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def make_socket(path: Path) -> None:
    # The path of a socket is limited to 108 bytes, so that it is bound from its directory.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a named pipe": lambda path: os.mkfifo(path),
    "a socket": make_socket,
    "a directory": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "does not exist": lambda path: path.symlink_to("gone"),
    "symbolic links": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "vocab.json"]
)
def test_file_that_is_none(source: Path, name: str, kind: str) -> None:
    write_tokenizer(source)
    (source / name).unlink(missing_ok=True)
    SPECIAL[kind](source / name)
    # Not assert_refused: it reads all files before and after.
    with pytest.raises(SourceError) as caught:
        convert(source, source.with_name("out"))
    assert str(source / name) in str(caught.value)
    assert kind in str(caught.value)
    assert not source.with_name("out").exists()


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
def test_what_is_not_needed_is_left_out(source: Path, tmp_path: Path, kind: str) -> None:
    SPECIAL[kind](source / "odd")
    with logged() as messages:
        convert(source, tmp_path / "fg")
    assert "Not copied: odd" in messages
    assert not os.path.lexists(tmp_path / "fg" / "odd")


def test_link_to_itself(source: Path) -> None:
    (source / "notes.txt").symlink_to("other.txt")
    (source / "other.txt").symlink_to("notes.txt")
    with pytest.raises(SourceError, match=r"notes\.txt cannot be read: Too many levels"):
        plan(source, source.with_name("out"))


def test_source_that_is_a_link_to_itself(tmp_path: Path) -> None:
    source = tmp_path / "hf"
    source.symlink_to(source)
    assert_refused(source, SourceError, source)


def test_file_that_may_not_be_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator may read everything, so that the system is asked here."""
    (source / "notes.txt").write_text("mine")

    def may(path: Path, mode: int) -> bool:
        return path.name != "notes.txt"

    monkeypatch.setattr("forgather_convert.source.directory_check.os.access", may)
    assert_refused(source, SourceError, source / "notes.txt", "Permission denied")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b]0;owned\x07", r"a\x1b]0;owned\x07"),
        ("a\nERROR: done", r"a\nERROR: done"),
        ("a\x9b31m\u202etxt", r"a\x9b31m\u202etxt"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
    ids=["escape", "line", "c1", "not-utf-8"],
)
def test_odd_names_are_carried_along_and_shown_as_escapes(
    source: Path, tmp_path: Path, name: str, shown: str
) -> None:
    (source / name).write_text("odd")
    (source / f"{name}-left").mkdir()
    lines = {}
    for options in ((), ("--dry-run",)):
        ended = forgather("convert", source, tmp_path / "fg", *options)
        assert ended.returncode == 0
        text = ended.stdout + ended.stderr
        assert name not in text
        lines[options] = text.splitlines()
        if not options:
            assert (tmp_path / "fg" / name).read_text() == "odd"
            shutil.rmtree(tmp_path / "fg")
    assert f"Not copied: {shown}-left" in lines[()]
    assert f"copy {shown} from {source}/{shown}" in lines["--dry-run",]
    assert f"leave out {shown}-left" in lines["--dry-run",]


def test_names_of_other_languages_stay(source: Path, tmp_path: Path) -> None:
    names = ["Größe 東京.txt", "👩\u200d🔬.txt"]
    for name in names:
        (source / name).write_text("mine")
    convert(source, tmp_path / "fg")
    assert all((tmp_path / "fg" / name).read_text() == "mine" for name in names)
