"""No code of the source runs: not its model code, its pickles, or its converters."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, SourceError, UnsupportedModelError, convert
from support.command import forgather
from support.models import random_state, write_hf_model
from support.variants import variant

LLAMA = variant("llama-mha")
MARK = "code-of-the-source-ran"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


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
