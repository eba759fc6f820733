"""Disks without room, and disks that cannot be written."""

import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, DestinationError, api, convert
from forgather_convert.execution.executor import execute
from forgather_convert.planning import early_weights
from support.command import forgather
from support.directories import differences, snapshot
from support.file_systems import forbid_writing, image, mounted
from support.models import write_hf_model
from support.staged_models import OLD, write_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_MIB = 1 << 20
_UNCHECKED = ConvertOptions(logit_check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", _SMALL, dtype="bfloat16")


def _pad(source: Path, size: int) -> Path:
    """Adds a file that is copied, so that the model has a size in bytes."""
    (source / "padding.txt").write_bytes(os.urandom(size))
    return source


@pytest.mark.parametrize("overwrite", [False, True])
def test_too_little_room_is_found_before_anything_is_written(
    source: Path, tmp_path: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = _pad(shutil.copytree(source, tmp_path / "big"), 3 * _MIB)
    monkeypatch.setattr(api, "execute", lambda *arguments: pytest.fail("It was seen too late."))
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
        if overwrite:
            write_model(disk / "out", OLD)
        options = ConvertOptions(logit_check=False, overwrite=overwrite)
        with pytest.raises(DestinationError, match=r"needs \d+ bytes, but only \d+") as caught:
            convert(big, disk / "out", options)
        assert str(disk / "out") in str(caught.value)
        assert "Nothing was written" in str(caught.value)
        assert snapshot(disk) == ({f"out/{name}": OLD[name] for name in OLD} if overwrite else {})
        assert len(list(disk.iterdir())) == overwrite


def test_disk_that_fills_meanwhile(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else writes, too."""
    big = _pad(shutil.copytree(source, tmp_path / "big"), 3 * _MIB)
    monkeypatch.setattr(api, "check_free_space", lambda plan, staging, free: None)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
        ended = forgather("convert", "--no-logit-check", big, disk / "out")
        assert ended.returncode == 1
        assert "No space left on device. Nothing was written." in ended.stderr
        assert list(disk.iterdir()) == []


_SHARING = pytest.mark.parametrize(
    "make",
    [("mkfs.btrfs", "--mixed"), ("mkfs.xfs", "-m", "reflink=1")],
    ids=["btrfs", "xfs"],
)


@_SHARING
def test_weights_share_their_blocks(tmp_path: Path, make: tuple[str, ...]) -> None:
    """In both directions, though tensors begin anywhere in a block."""
    disk_file = image(tmp_path / "image", 320 * _MIB, *make)
    with mounted(tmp_path / "disk", "-o", "loop", disk_file) as disk:
        wide = Variant("llama", "wide", {"num_hidden_layers": 1, "vocab_size": 200_000})
        hf = write_hf_model(disk / "hf", wide, dtype="bfloat16")
        os.sync()
        before = shutil.disk_usage(disk).free
        convert(hf, disk / "fg", _UNCHECKED)
        convert(disk / "fg", disk / "back", _UNCHECKED)
        os.sync()
        weights = (hf / "model.safetensors").stat().st_size
        assert weights > 40 * _MIB
        assert before - shutil.disk_usage(disk).free < weights / 10
        assert differences(hf, disk / "back") == []


@_SHARING
def test_blocks_that_are_shared_need_no_room(
    source: Path, tmp_path: Path, make: tuple[str, ...]
) -> None:
    """More than half of the disk is the source's."""
    disk_file = image(tmp_path / "image", 320 * _MIB, *make)
    with mounted(tmp_path / "disk", "-o", "loop", disk_file) as disk:
        big = shutil.copytree(source, disk / "big")
        free = shutil.disk_usage(disk).free
        _pad(big, free * 6 // 10)
        os.sync()
        assert shutil.disk_usage(disk).free < (big / "padding.txt").stat().st_size
        convert(big, disk / "out", _UNCHECKED)
        assert (disk / "out" / "padding.txt").stat().st_size == free * 6 // 10
        convert(disk / "out", disk / "back", _UNCHECKED)
        assert differences(disk / "back", big) == []
        # What is computed is not shared, and neither is what comes from elsewhere.
        with pytest.raises(DestinationError, match="are free"):
            convert(_pad(shutil.copytree(source, tmp_path / "far"), free), disk / "far", _UNCHECKED)


def test_file_system_that_does_not_say_what_is_free(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems say that they have no blocks at all."""
    status = os.statvfs(tmp_path)
    nothing = os.statvfs_result((*status[:2], 0, 0, 0, *status[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: nothing)
    convert(source, tmp_path / "out", _UNCHECKED)
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_disk_that_cannot_be_written(source: Path, tmp_path: Path, overwrite: bool) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        if overwrite:
            write_model(disk / "out", OLD)
        before = snapshot(disk)
        with mounted(tmp_path / "again", "--bind", disk) as again:
            forbid_writing(again)
            options = ["--overwrite"] if overwrite else []
            ended = forgather("convert", "--no-logit-check", *options, source, again / "out")
        assert ended.returncode == 1
        assert "Read-only file system" in ended.stderr
        assert str(again) in ended.stderr
        assert "Choose another path" in ended.stderr
        assert snapshot(disk) == before


def test_source_on_a_disk_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        shutil.copytree(source, disk / "hf")
        with mounted(tmp_path / "again", "--bind", disk) as again:
            forbid_writing(again)
            convert(again / "hf", tmp_path / "out", _UNCHECKED)
    convert(tmp_path / "out", tmp_path / "back", _UNCHECKED)
    assert differences(tmp_path / "back", source) == []


@pytest.mark.parametrize("limit", [0, 100, 20_000])
def test_limit_of_the_size_of_files(
    source: Path, tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file meets it: nothing is left, and the old model stays."""
    place = tmp_path / "place" / "out"
    place.parent.mkdir()
    write_model(place, OLD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def execute_within_limit(*arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        execute(*arguments)

    monkeypatch.setattr(api, "execute", execute_within_limit)
    # Nothing is written before that.
    monkeypatch.setattr(early_weights, "plan_early_weights", lambda request: None)
    try:
        ended = forgather("convert", "--no-logit-check", "--overwrite", source, place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.returncode == 1
    assert "File too large. Nothing was written." in ended.stderr
    assert snapshot(place) == OLD
    assert list(place.parent.iterdir()) == [place]
