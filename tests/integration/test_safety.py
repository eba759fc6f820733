"""No code of the source runs, and a destination is complete or not there at all."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import (
    ConvertOptions,
    DestinationError,
    SourceError,
    UnsupportedModelError,
    ValidationError,
    convert,
)
from support.command import forgather
from support.directories import differences, snapshot
from support.models import random_state, write_hf_model
from support.variants import Variant, variant

#: Queries and keys have the same shape, so that they can be mistaken for each other.
LLAMA = variant("llama-mha")
MARK = "code-of-the-source-ran"

_SLOW_CONVERTER = '''
import os, time
from pathlib import Path

from forgather.ml.model_conversion import register_converter
from forgather_convert_llama import LlamaConverter


@register_converter("llama")
class SlowConverter(LlamaConverter):
    """Waits when the model is staged, until it is told to go on."""

    def get_hf_model_class(self):
        here = Path(__file__).parent
        if list(here.parent.glob(".out.partial-*/model/config.json")):
            (here / "waiting").touch()
            while not (here / "go").exists():
                time.sleep(0.01)
        return super().get_hf_model_class()
'''

_WRONG_CONVERTER = '''
from forgather.ml.model_conversion import register_converter
from forgather_convert_llama import LlamaConverter


@register_converter("llama")
class WrongConverter(LlamaConverter):
    """Takes queries for keys."""

    def get_weight_mapping(self, direction):
        mapping = dict(super().get_weight_mapping("to_forgather"))
        names = [f"model.layers.{{layer}}.self_attn.{name}_proj.weight" for name in "qk"]
        query, key = (mapping[name] for name in names)
        mapping.update(zip(names, (key, query)))
        return self.directed(mapping, direction)
'''

# Signals are set to what they are for a command in a terminal: test runners may ignore some.
_RUN = """
import resource, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from forgather_convert.cli.main import main
limit = {limit}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return write_converter(tmp_path / "slow", _SLOW_CONVERTER)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    return write_converter(tmp_path / "wrong", _WRONG_CONVERTER)


def write_converter(directory: Path, text: str) -> Path:
    directory.mkdir()
    (directory / "converter.py").write_text(text)
    return directory


def remains(destination: Path) -> list[str]:
    """What a conversion left beside its destination."""
    return [path.name for path in destination.parent.iterdir() if path.name.startswith(".")]


def start(*arguments: str | Path, limit: int = 0) -> subprocess.Popen[str]:
    """Runs ``forgather convert`` in the background; no file can grow past the limit, in bytes."""
    return subprocess.Popen(
        [sys.executable, "-c", _RUN.format(limit=limit), "convert", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def waiting(source: Path, destination: Path, slow: Path) -> Iterator[subprocess.Popen[str]]:
    """A conversion that has written everything and not yet moved it to its place."""
    process = start("--converter-path", slow, source, destination)
    try:
        wait_for(slow / "waiting", process)
        yield process
    finally:
        process.kill()
        process.communicate()


# Code in the source


def booby_trapped(directory: Path, mark: Path) -> None:
    """Puts code into a model directory wherever a loader might run it."""
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "trap.TrapConfig",
        "AutoModel": "trap.TrapModel",
        "AutoModelForCausalLM": "trap.TrapForCausalLM",
        "AutoTokenizer": ["trap.TrapTokenizer", None],
    }
    (directory / "config.json").write_text(json.dumps(config))
    tokenizer = {"auto_map": {"AutoTokenizer": ["trap.TrapTokenizer", None]}}
    (directory / "tokenizer_config.json").write_text(
        json.dumps({**tokenizer, "tokenizer_class": "TrapTokenizer"})
    )
    existing = [path.name for path in directory.glob("*.py")]
    modules = ["trap.py", "converter.py", "trap_converter.py", "setup.py", "__init__.py"]
    for name in (*existing, *modules, "custom_generate/generate.py", "torch.py"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(code)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (directory / name).write_bytes(evil_pickle(mark))


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def evil_pickle(mark: Path) -> bytes:
    # The protocol of torch.save; for a later one torch only warns that it may not read it.
    return pickle.dumps({"args": Touch(mark)}, protocol=2)


def test_the_trap_works(tmp_path: Path) -> None:
    """The tests below prove nothing if the pickle does not bite."""
    pickle.loads(evil_pickle(tmp_path / MARK))
    assert (tmp_path / MARK).exists()


def test_no_code_of_a_hugging_face_source_runs(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    booby_trapped(source, tmp_path / MARK)
    result = forgather("convert", "-g", source, destination)
    assert result.returncode == 0, result.stderr
    assert "Logits are identical" in result.stderr
    assert not (tmp_path / MARK).exists()


def test_no_code_of_a_forgather_source_runs(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    """The generated code is there to be edited, and anybody may have edited it."""
    convert(source, tmp_path / "fg")
    booby_trapped(tmp_path / "fg", tmp_path / MARK)
    result = forgather("convert", "-g", tmp_path / "fg", destination)
    assert result.returncode == 0, result.stderr
    assert "Logits are identical" in result.stderr
    assert "The model code was edited" in result.stderr
    assert not (tmp_path / MARK).exists()


def test_no_converter_in_the_source_runs(
    source: Path, destination: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that looks like a Forgather tree is not one, not even from inside of it."""
    converter = source / "examples" / "models" / "trap" / "src" / "converter.py"
    converter.parent.mkdir(parents=True)
    converter.write_text(f"from pathlib import Path\nPath({str(tmp_path / MARK)!r}).touch()\n")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "model_type": "trap"}))
    monkeypatch.chdir(source)
    with pytest.raises(UnsupportedModelError):
        convert(Path(), destination)
    assert not (tmp_path / MARK).exists()


def test_weights_that_would_run_code_are_refused(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    (source / "model.safetensors").unlink()
    state: dict[str, Any] = {**random_state(LLAMA, torch.bfloat16)}
    torch.save({**state, "trap": Touch(tmp_path / MARK)}, source / "pytorch_model.bin")
    with pytest.raises(SourceError) as caught:
        convert(source, destination)
    assert str(source / "pytorch_model.bin") in str(caught.value)
    assert "code" in str(caught.value)
    assert "safetensors" in str(caught.value)
    assert not (tmp_path / MARK).exists()
    assert not destination.exists()


def test_old_pickle_that_would_run_code_is_refused(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    """Before version 1.6 torch wrote a bare pickle, and still reads it."""
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(evil_pickle(tmp_path / MARK))
    with pytest.raises(SourceError, match=r"pytorch_model\.bin"):
        convert(source, destination)
    assert not (tmp_path / MARK).exists()


def test_chat_template_does_not_run(source: Path, destination: Path, tmp_path: Path) -> None:
    """Checking its syntax is not rendering it."""
    template = tmp_path / "template.jinja"
    template.write_text("{{ 1 / 0 }}")
    (source / "tokenizer_config.json").write_text("{}")
    convert(source, destination, ConvertOptions(chat_template_path=template, logit_check=False))
    assert (destination / "chat_template.jinja").read_text() == "{{ 1 / 0 }}"


# Interruptions


def test_killed_conversion_leaves_no_destination(
    source: Path, destination: Path, waiting: subprocess.Popen[str]
) -> None:
    """Nobody cleans up after SIGKILL; the next conversion does."""
    before = snapshot(source)
    waiting.kill()
    waiting.communicate()
    assert not destination.exists()
    assert len(remains(destination)) == 1
    convert(source, destination)
    assert (destination / "config.json").is_file()
    assert remains(destination) == []
    assert snapshot(source) == before


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_interrupted_conversion_leaves_nothing(
    destination: Path, waiting: subprocess.Popen[str], number: signal.Signals, exit_code: int
) -> None:
    waiting.send_signal(number)
    output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == exit_code
    assert "nothing was written" in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not destination.exists()
    assert remains(destination) == []


def test_the_second_of_two_conversions_to_the_same_place_reports(
    source: Path, destination: Path, slow: Path, waiting: subprocess.Popen[str]
) -> None:
    """Neither disturbs the other, and what is there in the end is whole."""
    convert(source, destination)
    content = snapshot(destination)
    assert len(remains(destination)) == 1
    (slow / "go").touch()
    _, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "has appeared during the conversion" in errors
    assert str(destination) in errors
    assert snapshot(destination) == content
    assert remains(destination) == []


def test_write_error_leaves_nothing(source: Path, destination: Path) -> None:
    """A limit on the size of files stands for a disk that is full."""
    process = start(source, destination, limit=100_000)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert os.strerror(errno.EFBIG) in errors
    assert "Nothing was written" in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not destination.exists()
    assert remains(destination) == []


def test_parents_that_were_created_are_removed_again(
    source: Path, tmp_path: Path, wrong: Path
) -> None:
    with pytest.raises(ValidationError):
        convert(source, tmp_path / "new" / "deep" / "out", ConvertOptions(converter_paths=(wrong,)))
    assert not (tmp_path / "new").exists()


# Overwriting


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
    source: Path, destination: Path, slow: Path, old_model: dict[str, bytes]
) -> None:
    process = start("--overwrite", "--converter-path", slow, source, destination)
    try:
        wait_for(slow / "waiting", process)
        assert snapshot(destination) == old_model
        process.kill()
    finally:
        process.kill()
        process.communicate()
    assert snapshot(destination) == old_model


def test_failed_overwriting_keeps_the_old_model(
    source: Path, destination: Path, wrong: Path, old_model: dict[str, bytes]
) -> None:
    options = ConvertOptions(overwrite=True, converter_paths=(wrong,))
    with pytest.raises(ValidationError):
        convert(source, destination, options)
    assert snapshot(destination) == old_model
    assert remains(destination) == []


@pytest.mark.parametrize("interruption", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_old_model_returns_if_the_new_one_cannot_take_its_place(
    source: Path,
    destination: Path,
    old_model: dict[str, bytes],
    interruption: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the two renames there is no model at the destination."""
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "model" and Path(target) == destination:
            raise interruption
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((DestinationError, KeyboardInterrupt)):
        convert(source, destination, ConvertOptions(overwrite=True))
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


# The logit check


def test_failed_logit_check_writes_nothing(source: Path, destination: Path, wrong: Path) -> None:
    """The names and shapes of a wrong mapping are all right; only the logits tell."""
    result = forgather("convert", "--converter-path", wrong, source, destination)
    assert result.returncode == 1
    assert "Model logits are dissimilar" in result.stderr
    assert "--debug-params" in result.stderr
    assert "--no-logit-check" in result.stderr
    assert "Traceback" not in result.stderr
    assert not destination.exists()
    assert remains(destination) == []


def test_failed_logit_check_on_the_way_back(
    source: Path, destination: Path, tmp_path: Path, wrong: Path
) -> None:
    convert(source, tmp_path / "fg")
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        convert(tmp_path / "fg", destination, ConvertOptions(converter_paths=(wrong,)))
    assert not destination.exists()


def test_logit_check_can_be_left_out(source: Path, destination: Path, wrong: Path) -> None:
    options = ConvertOptions(converter_paths=(wrong,), logit_check=False)
    assert convert(source, destination, options).logits is None
    assert (destination / "config.json").is_file()


def test_logit_check_sees_a_single_wrong_byte(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is read back from the disk, not from memory."""
    from forgather_convert import api
    from forgather_convert.planning.plan import ConversionPlan

    execute = api.execute

    def execute_badly(plan: ConversionPlan, staged: Path, progress: Any) -> None:
        execute(plan, staged, progress)
        weights = staged / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 0x40
        weights.write_bytes(data)

    monkeypatch.setattr(api, "execute", execute_badly)
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        convert(source, destination)
    assert not destination.exists()


def test_overwrite_does_not_delete_training_checkpoints(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    convert(source, tmp_path / "fg")
    (tmp_path / "fg" / "checkpoints" / "checkpoint-7").mkdir(parents=True)
    before = snapshot(tmp_path)
    with pytest.raises(DestinationError, match="checkpoint-7"):
        convert(source, tmp_path / "fg", ConvertOptions(overwrite=True))
    assert snapshot(tmp_path) == before
