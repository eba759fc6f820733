"""Who may do what with the files of a result."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def source(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "hf"))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("mode", "mask", "expected"),
    [
        (0o644, 0o022, 0o644),
        (0o444, 0o022, 0o644),  # as in a hub's cache
        (0o600, 0o022, 0o600),
        (0o777, 0o027, 0o750),
        (0o666, 0o077, 0o600),
        (0o6755, 0o022, 0o755),
        (0o4777, 0o002, 0o775),
        (0o1644, 0o022, 0o644),
        (0o000, 0o022, 0o600),
    ],
    ids=lambda mode: oct(mode),
)
def test_mode_of_a_copied_file(
    source: Path, tmp_path: Path, mode: int, mask: int, expected: int
) -> None:
    """A program that runs as its owner is not what a conversion may make of a file."""
    (source / "LICENSE").write_text("mine")
    (source / "LICENSE").chmod(mode)
    if not os.access(source / "LICENSE", os.R_OK):
        pytest.skip("this user cannot read the file")
    with umask(mask):
        convert(source, tmp_path / "out", ConvertOptions(logit_check=False))
    assert modes(tmp_path / "out")["LICENSE"] == expected


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
@pytest.mark.parametrize("mask", [0o022, 0o007, 0o077])
def test_mode_of_what_is_written(
    source: Path, tmp_path: Path, weights_format: str, mask: int
) -> None:
    options = ConvertOptions(logit_check=False, weights_format=weights_format)
    for path in source.iterdir():
        path.chmod(0o666)
    with umask(mask):
        convert(source, tmp_path / "out", options)
    assert set(modes(tmp_path / "out").values()) == {0o666 & ~mask}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~mask


def test_new_parents_follow_the_umask(source: Path, tmp_path: Path) -> None:
    with umask(0o027):
        convert(source, tmp_path / "new" / "out", ConvertOptions(logit_check=False))
    assert modes(tmp_path)["new"] == 0o750


@pytest.mark.parametrize("mode", [0o700, 0o775])
def test_overwritten_directory_keeps_its_mode(source: Path, tmp_path: Path, mode: int) -> None:
    """What was private stays private."""
    shutil.copytree(source, tmp_path / "out")
    (tmp_path / "out").chmod(mode)
    convert(source, tmp_path / "out", ConvertOptions(logit_check=False, overwrite=True))
    assert (tmp_path / "out" / "forgather_conversion.json").exists()
    assert modes(tmp_path)["out"] == mode
