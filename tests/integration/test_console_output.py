"""What the user of ``forgather convert`` sees: messages, help, colours, JSON, plans."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from forgather_convert import convert
from support.command import forgather, forgather_process, run_convert
from support.directories import snapshot
from support.models import random_state, write_hf_model
from support.variants import Variant, variant

LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model to convert from; its source is beside it. Not to be changed."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


def test_console_lines_to_forgather(source: Path, tmp_path: Path) -> None:
    """The lines of the specification, in its order, on stderr; stdout is for data."""
    result = forgather_process("convert", source, tmp_path / "fg")
    assert result.stderr.splitlines() == [
        "Auto-detected HuggingFace model (type: llama)",
        "Auto-detected dtype from source model: bfloat16",
        "Converting HuggingFace model to Forgather format",
        "Logits are identical over 32 positions",
        f"Conversion complete: {tmp_path / 'fg'}",
    ]
    assert result.stdout == ""


@pytest.mark.parametrize(("family", "name"), [("llama", "Llama"), ("qwen3", "Qwen3")])
def test_console_lines_to_hugging_face(family: str, name: str, tmp_path: Path) -> None:
    plain = Variant(family, "plain")
    convert(write_hf_model(tmp_path / "hf", plain, dtype="float32"), tmp_path / "fg")
    result = forgather_process("convert", tmp_path / "fg", tmp_path / "back")
    assert result.stderr.splitlines() == [
        f"Auto-detected Forgather model (original type: {family})",
        "Auto-detected dtype from source model: float32",
        f"Using the weights of {tmp_path / 'fg'} itself; it has no checkpoint-N",
        f"Converting Forgather model to HuggingFace {name}",
        "Logits are identical over 32 positions",
        f"Conversion complete: {tmp_path / 'back'}",
    ]
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"]])
def test_help_imports_no_large_library(arguments: list[str]) -> None:
    """Help must come at once; each of these libraries takes seconds."""
    code = (
        "import atexit, sys\n"
        "large = ('torch', 'transformers', 'safetensors')\n"
        "atexit.register(lambda: print([name for name in large if name in sys.modules]))\n"
        "from forgather_convert.cli.main import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage:" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_help_names_every_option_of_the_specification() -> None:
    text = forgather("convert", "--help").stdout
    assert re.search(r"--model-type \{[\w,]*\bllama,[\w,]*\bmistral,[\w,]*\bqwen3\b", text)
    for option in (
        "--reverse",
        "--dtype",
        "--max-length",
        "-c, --checkpoint-path",
        "--add-tokens",
        "--skip-default-tokens",
        "--device",
        "-g, --generation-test",
        "--prompt",
        "--debug-params",
        "-t, --chat-template-path",
        "--converter-path",
        "--dry-run",
        "--log-level",
        "--format",
        "--max-shard-size",
        "--overwrite",
        "--no-logit-check",
        "--json",
    ):
        assert option in text


def on_terminal(*arguments: str | Path, **environment: str) -> str:
    """What ``forgather`` prints to stderr if that is a terminal."""
    terminal, connection = pty.openpty()
    unset = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    with subprocess.Popen(
        [sys.executable, "-m", "forgather_convert", *map(str, arguments)],
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "200", **environment},
        stdout=subprocess.DEVNULL,
        stderr=connection,
    ):
        os.close(connection)
        printed = b""
        try:
            while chunk := os.read(terminal, 4096):
                printed += chunk
        except OSError:  # the other end is closed
            pass
    os.close(terminal)
    return printed.decode()


def test_terminal_has_colours_unless_they_are_not_wanted(tmp_path: Path) -> None:
    """See no-color.org: any value that is not empty counts."""
    colour = re.compile("\x1b\\[[0-9;]*3[0-7]m")
    arguments = ("convert", tmp_path / "nowhere", tmp_path / "out")
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert "does not exist" in plain
    assert not colour.search(plain)
    assert colour.search(on_terminal(*arguments))


def test_terminal_shows_progress_and_a_pipe_does_not(source: Path, tmp_path: Path) -> None:
    options = ("--no-logit-check", source)
    assert "Writing weights" in on_terminal("convert", *options, tmp_path / "terminal")
    result = forgather_process("convert", *options, tmp_path / "pipe")
    assert result.returncode == 0, result.stderr
    for text in (result.stdout, result.stderr):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "Writing weights" not in text


def test_debug_params_prints_the_names_of_both_sides(source: Path, tmp_path: Path) -> None:
    """In both directions; every parameter has its line."""
    there = run_convert("--debug-params", "--no-logit-check", source, tmp_path / "fg").stderr
    back = run_convert(
        "--debug-params", "--no-logit-check", tmp_path / "fg", tmp_path / "back"
    ).stderr
    for name in random_state(LLAMA, torch.bfloat16):
        assert name in there
        assert name in back
    for layer in range(3):
        hf = f"model.layers.{layer}.self_attn.q_proj.weight"
        fg = f"causal_lm.layer_stack.layers.{layer}.attention.query_linear.weight"
        assert re.search(rf"{re.escape(hf)} .*-> {re.escape(fg)}", there)
        assert re.search(rf"{re.escape(fg)} .*-> {re.escape(hf)}", back)


def test_log_levels(source: Path, tmp_path: Path) -> None:
    quiet = run_convert("--log-level", "error", "--no-logit-check", source, tmp_path / "quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    loud = run_convert("--log-level", "DEBUG", "--dry-run", source, tmp_path / "loud")
    assert "Auto-detected" in loud.stderr
    assert "Converter for 'llama'" in loud.stderr


def test_json_on_stdout_and_logs_on_stderr(source: Path, tmp_path: Path) -> None:
    result = run_convert("--json", source, tmp_path / "fg")
    content = json.loads(result.stdout)
    assert content["direction"] == "to_forgather"
    assert content["model_type"] == "llama"
    assert content["dtype"] == "bfloat16"
    assert content["logits"] == {
        "equal": True,
        "max_difference": 0.0,
        "positions": 32,
        "past": [],
        "not_past": [],
    }
    assert content["files"] == sorted(path.name for path in (tmp_path / "fg").iterdir())
    assert "Conversion complete" in result.stderr


def test_dry_run_lists_everything_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("mine")
    (source / "other.gguf").write_text("")
    before = snapshot(tmp_path)
    text = run_convert("--dry-run", source, tmp_path / "fg").stdout
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "fg").exists()
    convert(source, tmp_path / "fg")
    for path in (tmp_path / "fg").iterdir():
        assert path.name in text
    with safe_open(tmp_path / "fg" / "model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            assert name in text
    assert "leave out other.gguf" in text
    assert "Nothing was written" in text


def test_all_options_together(forgather_model: Path, tmp_path: Path) -> None:
    """Every option reaches the conversion; the plan shows what they do."""
    checkpoint = tmp_path / "elsewhere"
    shutil.copytree(forgather_model, checkpoint)
    result = run_convert(
        *("--reverse", "--model-type", "llama", "--dtype", "float16", "--max-length", "64"),
        *("-c", checkpoint, "--format", "pytorch", "--max-shard-size", "50kB"),
        *("--device", "cpu", "--no-logit-check", "--overwrite", "--log-level", "ERROR"),
        *("--dry-run", "--json", forgather_model, tmp_path / "back"),
    )
    content = json.loads(result.stdout)
    assert content["dtype"] == "float16"
    names = [shard["file"] for shard in content["shards"]]
    count = len(names)
    assert count > 1
    assert names == [
        f"pytorch_model-{number:05d}-of-{count:05d}.bin" for number in range(1, count + 1)
    ]
    tensors = [tensor for shard in content["shards"] for tensor in shard["tensors"]]
    assert {tensor["dtype"] for tensor in tensors} == {"float16"}
    assert all(shard["bytes"] <= 50_000 for shard in content["shards"])
    assert "pytorch_model.bin.index.json" in content["write"]
    assert result.stderr == ""
