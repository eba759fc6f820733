"""A source that changes while it is converted is refused, and nothing is written."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, SourceError, api, convert
from forgather_convert.conversion import model
from forgather_convert.conversion.conversion import ConversionRequest
from forgather_convert.execution.executor import execute
from forgather_convert.logit_check.logits import check_logits
from support.directories import snapshot
from support.fault_selection import IS_COMPLETE, kinds_of
from support.faults import Conversions, Fault, planned_command
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_WEIGHTS = "model.safetensors"

Action = Callable[[Path], object]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    original = write_hf_model(root / "hf", _SMALL, dtype="bfloat16")
    convert(original, root / "fg", ConvertOptions(logit_check=False))
    return {"hf": original, "fg": root / "fg"}


@pytest.fixture(params=["hf", "fg"])
def source(request: pytest.FixtureRequest, models: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(models[request.param], tmp_path / "source")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _write_in_place(path: Path) -> None:
    """The same size, other bytes."""
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\0" * 8)
    _set_time(path)


def _replace(path: Path) -> None:
    """As a program does that saves a file beside the old one first."""
    other = path.with_name("other")
    shutil.copy(path, other)
    _set_time(other)
    other.replace(path)


def _set_time(path: Path) -> None:
    """Does what a slower write does by itself: the clock of files is not that fine."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10_000_000))


def _convert_while(
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    action: Callable[[], object],
    source: Path,
    destination: Path,
) -> None:
    """Converts; something happens before the bytes are copied, or when they have been."""

    def interfere(*arguments: Any) -> None:
        if when == "before":
            action()
        execute(*arguments)
        if when == "after":
            action()

    monkeypatch.setattr(api, "execute", interfere)
    convert(source, destination, ConvertOptions(logit_check=False))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", [_WEIGHTS, "generation_config.json"])
@pytest.mark.parametrize("change", [_cut, _grow, _write_in_place, _replace, Path.unlink])
def test_source_that_changes_is_refused(
    source: Path,
    destination: Path,
    change: Action,
    name: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = source / name
    # What is gone before it is opened cannot be opened; weights may have been read by then.
    errors = (OSError, SourceError) if (change, when) == (Path.unlink, "before") else SourceError
    with pytest.raises(errors) as caught:
        _convert_while(monkeypatch, when, lambda: change(path), source, destination)
    assert str(path) in str(caught.value)
    assert list(destination.parent.iterdir()) == []


def test_source_that_changes_during_the_check_is_refused(
    models: dict[str, Path], tmp_path: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(models["hf"], tmp_path / "source")

    def check_and_change(*arguments: Any, **options: Any) -> Any:
        result = check_logits(*arguments, **options)
        _set_time(source / _WEIGHTS)
        return result

    monkeypatch.setattr(model, "check_logits", check_and_change)
    with pytest.raises(SourceError, match=f"{_WEIGHTS} changed while it was converted"):
        convert(source, destination)
    assert list(destination.parent.iterdir()) == []


def test_weights_that_change_while_the_plan_is_made_are_refused(
    models: dict[str, Path], tmp_path: Path, destination: Path
) -> None:
    """Their headers are read at the beginning, their bytes at the end."""
    source = shutil.copytree(models["hf"], tmp_path / "source")
    with pytest.raises(SourceError, match="changed while it was converted"):
        api.run(
            ConversionRequest.of(source, destination, ConvertOptions(logit_check=False)),
            on_plan=lambda plan: _write_in_place(source / _WEIGHTS),
        )
    assert list(destination.parent.iterdir()) == []


def test_what_is_not_converted_may_change(
    models: dict[str, Path], tmp_path: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training writes its next checkpoint beside the model."""
    source = shutil.copytree(models["fg"], tmp_path / "source")

    def train() -> None:
        (source / "checkpoint-9").mkdir()
        (source / "training.log").write_text("step 9")

    _convert_while(monkeypatch, "before", train, source, destination)
    assert (destination / "config.json").is_file()


@pytest.mark.parametrize("dtype", [None, "float16"], ids=["copied", "computed"])
def test_weights_that_are_cut_before_any_operation(
    models: dict[str, Path], tmp_path: Path, dtype: str | None
) -> None:
    """They are refused, or their bytes had all been read."""
    root = tmp_path / "root"
    source = shutil.copytree(models["hf"], root / "source")
    place = root / "place" / "out"
    place.parent.mkdir()
    options = [] if dtype is None else ["--dtype", dtype]
    command = planned_command(
        source, place, *options, root=root, plan_file=tmp_path / "plan", dtype=dtype
    )
    with Conversions() as conversions:
        conversions.warm_up(command)
        result = snapshot(place)
        shutil.rmtree(place)
        operations = conversions.run(command, Fault()).operations
        codes = set()
        selected = [alike[-1] for alike in kinds_of(operations)][::4]
        for operation in operations if IS_COMPLETE else selected:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copy2(models["hf"] / _WEIGHTS, source)
            ended = conversions.run(command, Fault(operation, cuts=str(source / _WEIGHTS)))
            said = f"{operation}\n{ended.errors}"
            codes.add(ended.code)
            if ended.code == 0:
                assert snapshot(place) == result, said
            else:
                assert str(source / _WEIGHTS) in ended.errors.splitlines()[-1], said
                assert "Traceback" not in ended.errors, said
                assert not place.exists(), said
            assert [path for path in place.parent.iterdir() if path != place] == [], said
    assert codes == {0, 1}
