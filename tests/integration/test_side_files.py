"""Every name of a source is copied, replaced by what means the same, or listed."""

import json
import shutil
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, SourceError, convert, plan
from support.directories import differences, snapshot
from support.log import logged
from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")
FILE = "forgather_conversion.json"
WITHOUT_CHECK = ConvertOptions(logit_check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def fg(source: Path) -> Path:
    convert(source, source.with_name("fg"), WITHOUT_CHECK)
    return source.with_name("fg")


def _back(fg: Path) -> tuple[Path, str]:
    """Converts to Hugging Face; gives the directory and what the log lists as left out."""
    back = fg.with_name("back")
    with logged() as messages:
        result = convert(fg, back, WITHOUT_CHECK)
    listed = [text for text in messages if text.startswith("Not copied: ")]
    assert bool(listed) == bool(result.plan.left_out)
    return back, "".join(listed)


@pytest.mark.parametrize("kind", ["provenance", "code", "directory"])
def test_a_source_with_a_file_that_the_conversion_writes(
    kind: str, source: Path, tmp_path: Path
) -> None:
    """It would be lost silently: neither of the two can have the name."""
    code = next(
        write.name for write in plan(source, tmp_path / "fg").writes if "model" in write.name
    )
    path = source / (code if kind == "code" else FILE)
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("{}")
    before = snapshot(tmp_path)
    with pytest.raises(SourceError, match="name of a file that the conversion writes") as error:
        convert(source, tmp_path / "fg")
    assert str(path) in str(error.value)
    assert "Rename it" in str(error.value)
    assert snapshot(tmp_path) == before


def test_every_name_has_a_fate(source: Path, fg: Path) -> None:
    """What the user put beside a Forgather model, under names that the result has, too."""
    names = {
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model-00001-of-00001.bin",
        "pytorch_model.bin.index.json",
        "trainer_state.json",
        "README.md",
        "train.py",
    }
    # The files that the indexes list are not there: they are no weights.
    for name in names:
        (fg / name).write_text('{"weight_map": {"any": "absent"}}')
    (fg / "notes").mkdir()
    back, listed = _back(fg)
    carried = {"README.md", "train.py"}
    for name in carried:
        assert (back / name).read_bytes() == (fg / name).read_bytes()
    assert all(name in listed for name in {*names, "notes"} - carried)
    assert differences(source, back) == [f"only in {back}: {name}" for name in sorted(carried)]


def test_python_files_without_a_provenance_are_listed(fg: Path) -> None:
    """They cannot be told from the model's code, which a Hugging Face model does not run."""
    (fg / FILE).unlink()
    (fg / "train.py").write_text("")
    code = {path.name for path in fg.glob("*.py")}
    back, listed = _back(fg)
    assert not list(back.glob("*.py"))
    assert all(name in listed for name in code)


def test_code_that_was_edited_is_listed(fg: Path) -> None:
    """A warning says why, and the list says that the file is not there."""
    edited, other, *_ = sorted(fg.glob("*.py"))
    edited.write_text(edited.read_text() + "# better\n")
    back, listed = _back(fg)
    assert edited.name in listed
    assert other.name not in listed
    assert not list(back.glob("*.py"))


def test_a_provenance_does_not_make_files_disappear(source: Path, fg: Path) -> None:
    """A Python file that it calls generated is dropped only with a word, others never."""
    (fg / "handler.py").write_text("# mine\n")
    (fg / "README.md").write_text("# mine\n")
    content = json.loads((fg / FILE).read_text())
    content["generated"]["handler.py"] = "0" * 64
    (fg / FILE).write_text(json.dumps(content))
    back, listed = _back(fg)
    assert "handler.py" in listed
    assert (back / "README.md").read_text() == "# mine\n"
    content["generated"]["README.md"] = "0" * 64
    (fg / FILE).write_text(json.dumps(content))
    with pytest.raises(SourceError, match=r"README\.md"):
        convert(fg, back.with_name("again"))


@pytest.mark.parametrize("name", ["trainer_state.json", "modeling_custom.py", "\x1b[2J.txt"])
def test_files_of_the_original_come_back(name: str, source: Path) -> None:
    """Names that mean something else in a Forgather model, and one that is odd."""
    (source / name).write_text("{}")
    fg = source.with_name("fg")
    convert(source, fg, WITHOUT_CHECK)
    back, _ = _back(fg)
    assert differences(source, back) == []


def test_a_name_that_is_no_text_comes_back(source: Path) -> None:
    """Linux allows any bytes in a name."""
    (source / b"caf\xe9.txt".decode("utf-8", "surrogateescape")).write_text("x")
    fg = source.with_name("fg")
    convert(source, fg, WITHOUT_CHECK)
    back, _ = _back(fg)
    assert differences(source, back) == []


def test_a_copy_of_the_code_in_the_original_comes_back(source: Path, fg: Path) -> None:
    """Only a file of exactly this name is refused."""
    code = next(fg.glob("modeling_*.py"))
    shutil.copy(code, source / "modeling_copy.py")
    shutil.rmtree(fg)
    convert(source, fg, WITHOUT_CHECK)
    back, _ = _back(fg)
    assert differences(source, back) == []


@pytest.mark.parametrize("place", ["checkpoint-5", "checkpoints/checkpoint-5"])
def test_a_checkpoint_with_files_of_its_own(place: str, source: Path, fg: Path) -> None:
    """Config and tokenizer come from the model around it; what else it has is listed."""
    checkpoint = fg / place
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        shutil.copy(fg / name, checkpoint)
    for name in ("optimizer.pt", "trainer_state.json", "notes.txt"):
        (checkpoint / name).write_text("{}")
    with logged() as messages:
        convert(checkpoint, fg.with_name("back"), WITHOUT_CHECK)
    assert differences(source, fg.with_name("back")) == []
    (listed,) = [text for text in messages if text.startswith("Not copied: ")]
    assert all(name in listed for name in ("optimizer.pt", "trainer_state.json", "notes.txt"))


@pytest.mark.parametrize("place", ["checkpoint-5", "checkpoints/checkpoint-5"])
def test_the_checkpoint_that_is_converted_is_not_listed(place: str, source: Path, fg: Path) -> None:
    """Only what lies beside its weights, and the checkpoints that are not converted."""
    for name in (place, place.replace("5", "4")):
        (fg / name).mkdir(parents=True)
        shutil.copy(fg / "model.safetensors", fg / name)
    (fg / place / "optimizer.pt").write_text("")
    with logged() as messages:
        convert(fg, fg.with_name("back"), WITHOUT_CHECK)
    assert differences(source, fg.with_name("back")) == []
    (listed,) = [text for text in messages if text.startswith("Not copied: ")]
    names = {f"{place}/optimizer.pt", place.replace("5", "4"), "model.safetensors"}
    listed = listed.removeprefix("Not copied: ")
    assert names <= set(listed.split(", "))
    assert place not in listed.split(", ")
    assert f"{place}/model.safetensors" not in listed


def test_a_checkpoint_that_is_a_model_in_a_directory_that_is_none(fg: Path) -> None:
    """What lies around it is listed, but not the checkpoint itself."""
    output = fg.with_name("output")
    shutil.copytree(fg, output / "checkpoint-7")
    (output / "notes.txt").write_text("mine")
    (output / "runs").mkdir()
    _, listed = _back(output)
    assert "notes.txt" in listed
    assert "runs" in listed
    assert "checkpoint-7" not in listed


def test_links_to_directories_around_the_model_are_names(source: Path, fg: Path) -> None:
    checkpoint = fg / "checkpoint-5"
    checkpoint.mkdir()
    shutil.copy(fg / "model.safetensors", checkpoint)
    targets = {"checkpoint-a": fg, "checkpoint-b": fg.parent, "checkpoint-c": Path("/")}
    for name, target in targets.items():
        (fg / name).symlink_to(target)
    (checkpoint / "again").symlink_to(checkpoint)
    back, listed = _back(fg)
    assert differences(source, back) == []
    assert {*targets, "checkpoint-5/again"} <= set(listed.removeprefix("Not copied: ").split(", "))
