"""``--overwrite`` replaces a model at the end, and nothing else ever."""

import shutil
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, DestinationError, ValidationError, api, convert
from support.directories import differences, snapshot
from support.models import write_hf_model
from support.running_conversion import remains, waiting_conversion
from support.staged_models import kill_while_overwriting
from support.variants import Variant, variant
from support.wrong_converter import write_wrong_converter

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-mha")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def old_model(tmp_path: Path, destination: Path) -> dict[str, bytes]:
    """A model at the destination, with more in its directory than a model needs."""
    old = Variant("llama", "old", {"num_hidden_layers": 1})
    write_hf_model(destination, old, dtype="float16")
    (destination / "notes").mkdir()
    (destination / "notes" / "old.txt").write_text("mine")
    return snapshot(destination)


def test_overwriting_replaces_everything(
    source: Path, destination: Path, tmp_path: Path, old_model: dict[str, bytes]
) -> None:
    convert(source, tmp_path / "expected")
    convert(source, destination, ConvertOptions(overwrite=True))
    assert differences(destination, tmp_path / "expected") == []
    assert remains(destination) == []


def test_overwriting_happens_at_the_end(
    source: Path, destination: Path, tmp_path: Path, old_model: dict[str, bytes]
) -> None:
    arguments = ("--overwrite", "--no-logit-check", source, destination)
    with waiting_conversion(*arguments, pause=tmp_path / "pause") as process:
        assert snapshot(destination) == old_model
        process.kill()
    assert snapshot(destination) == old_model


def test_failed_overwriting_keeps_the_old_model(
    source: Path, destination: Path, tmp_path: Path, old_model: dict[str, bytes]
) -> None:
    wrong = write_wrong_converter(tmp_path / "wrong")
    options = ConvertOptions(overwrite=True, converter_paths=(wrong,))
    with pytest.raises(ValidationError):
        convert(source, destination, options)
    assert snapshot(destination) == old_model
    assert remains(destination) == []


def test_overwriting_refuses_what_is_not_a_model(source: Path, destination: Path) -> None:
    """A slip in the arguments must not cost somebody's home directory."""
    destination.mkdir()
    (destination / "thesis.tex").write_text("mine")
    with pytest.raises(DestinationError, match="is not a model directory") as caught:
        convert(source, destination, ConvertOptions(overwrite=True))
    assert str(destination) in str(caught.value)
    assert snapshot(destination) == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_overwriting_refuses_what_is_not_a_directory(
    source: Path, destination: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "file":
        destination.write_text("mine")
    else:
        shutil.copytree(source, tmp_path / "elsewhere")
        destination.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before = snapshot(tmp_path)
    with pytest.raises(DestinationError) as caught:
        convert(source, destination, ConvertOptions(overwrite=True))
    assert str(destination) in str(caught.value)
    assert snapshot(tmp_path) == before


def test_overwriting_takes_an_empty_directory(source: Path, destination: Path) -> None:
    destination.mkdir()
    convert(source, destination, ConvertOptions(overwrite=True))
    assert (destination / "config.json").is_file()


def test_overwrite_does_not_delete_training_checkpoints(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    convert(source, tmp_path / "fg")
    (tmp_path / "fg" / "checkpoints" / "checkpoint-7").mkdir(parents=True)
    before = snapshot(tmp_path)
    with pytest.raises(DestinationError, match="checkpoint-7"):
        convert(source, tmp_path / "fg", ConvertOptions(overwrite=True))
    assert snapshot(tmp_path) == before


def test_old_model_that_is_put_back_counts_as_one_that_was_there(
    source: Path, destination: Path, old_model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion was killed when it had moved the old model away. This one sees no model at
    first, puts it back, and does not convert for nothing.
    """
    kill_while_overwriting(destination, "between the renames")
    assert not destination.exists()
    monkeypatch.setattr(api, "execute", lambda *arguments: pytest.fail("It was seen too late."))
    with pytest.raises(DestinationError, match="exists"):
        convert(source, destination)
    assert snapshot(destination) == old_model
    assert remains(destination) == []
