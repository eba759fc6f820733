"""The command line reports what is refused, and wrong usage."""

import shutil
from pathlib import Path

import pytest

from forgather_convert import (
    convert,
)
from support.command import forgather
from support.converting import edit_config
from support.models import write_hf_model
from support.refusals import (
    LLAMA,
    assert_command_refuses,
    without,
    write_state,
)

pytestmark = pytest.mark.version_independent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model that all tests share; they copy it before they damage it."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


@pytest.fixture
def forgather_source(forgather_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(forgather_model, tmp_path / "fg"))


def test_command_without_source(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert_command_refuses(tmp_path, nowhere, tmp_path / "out", words=(nowhere, "does not exist"))


def test_command_for_an_unsupported_model(source: Path, tmp_path: Path) -> None:
    edit_config(source, model_type="unheard_of")
    words = ("No converter registered for model type 'unheard_of'", "qwen3", "--converter-path")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_tensors_that_do_not_fit(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("lm_head.weight"))
    words = (source, "missing", "lm_head.weight")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_truncated_weights(source: Path, tmp_path: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    words = (weights, "truncated", "Download it again")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_a_destination_that_exists(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = (tmp_path / "out", "exists", "--overwrite")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_a_destination_that_cannot_be_created(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = (tmp_path / "file",)
    assert_command_refuses(tmp_path, source, tmp_path / "file" / "out", words=words)


def test_command_for_a_missing_checkpoint(forgather_source: Path, tmp_path: Path) -> None:
    words = ("Checkpoint not found", "checkpoint-9")
    assert_command_refuses(
        tmp_path, forgather_source, tmp_path / "out", "-c", "checkpoint-9", words=words
    )


def test_command_with_a_value_that_cannot_be(source: Path, tmp_path: Path) -> None:
    edit_config(source, hidden_act="swish7")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=("config.json", "swish7"))


def test_command_in_a_dry_run(source: Path, tmp_path: Path) -> None:
    """A dry run tells what the conversion would tell."""
    edit_config(source, quantization_config={"quant_method": "gptq"})
    words = (source, "gptq", "unquantized")
    assert_command_refuses(tmp_path, source, tmp_path / "out", "--dry-run", words=words)


def test_traceback_only_for_debugging(tmp_path: Path) -> None:
    arguments = ("convert", tmp_path / "nowhere", tmp_path / "out")
    result = forgather(*arguments, "--log-level", "DEBUG")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["a", "b", "--dtype", "int8"], "--dtype"),
        (["a", "b", "--max-length", "0"], "--max-length"),
        (["a", "b", "--max-length", "long"], "--max-length"),
        (["a", "b", "--max-shard-size", "big"], "5GB"),
        (["a"], "DESTINATION_PATH"),
        ([], "SOURCE_PATH"),
        (["a", "b", "--no-such-option"], "--no-such-option"),
        (["a", "b", "--format", "gguf"], "--format"),
        (["a", "b", "--log-level", "LOUD"], "--log-level"),
    ],
    ids=lambda value: "-".join(value[2:]) or "arguments" if isinstance(value, list) else "",
)
def test_wrong_usage(arguments: list[str], word: str) -> None:
    result = forgather("convert", *arguments)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Usage:" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
