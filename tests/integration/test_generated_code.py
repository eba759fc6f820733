"""The generated code is something to read and edit: formatted, linted, and only what is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from forgather_convert.converter_tools.tiny_models import project_of, tiny_cases
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.dynamic_model.code_generator import generate_code
from support.available_families import available
from support.models import write_hf_model
from support.variants import Variant, variant

SHOWN = ["llama-longrope", "mistral-window", "qwen3-layer-types"]


@pytest.fixture(params=SHOWN)
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shown: Variant = variant(request.param)
    source = write_hf_model(tmp_path / "hf", shown)
    convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    return tmp_path / "fg"


def ruff(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", *map(str, arguments), "--isolated", "--no-cache"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(params=available(["lfm2", "falcon_h1", "opt"]))
def mixed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Models with other layers, or other sizes."""
    hooks = resolve_converter(request.param)
    make_config = next(iter(tiny_cases(hooks).values()))
    _, project = project_of(hooks, make_config())
    for name, text in generate_code(project).files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_is_formatted_and_clean(directory: Path) -> None:
    check(directory)


def test_it_is_so_for_models_with_mixers(mixed: Path) -> None:
    check(mixed)


def check(directory: Path) -> None:
    formatted = ruff("format", "--check", "--diff", "--line-length", "100", directory)
    assert formatted.returncode == 0, formatted.stdout
    rules = "E,F,W,I,UP,B,SIM,RET"
    linted = ruff("check", "--line-length", "100", "--select", rules, "--ignore", "B006", directory)
    assert linted.returncode == 0, linted.stdout


def test_only_the_components_in_use_are_there(directory: Path) -> None:
    names = {path.stem.rsplit("_", 1)[0] for path in directory.glob("*.py")}
    family = next(name for name in names if name.startswith("modeling_")).removeprefix("modeling_")
    expected = {
        "attention_masks",
        "cache_arguments",
        "causal_attention",
        "context",
        "gated_feedforward",
        "input_encoder",
        "layer_config",
        "layer_stack",
        "linear_head",
        f"modeling_{family}",
        "pre_norm_layer",
        "rms_norm",
        "rotary_embedding",
        "token_embedding",
    }
    assert names == expected | ({"qk_norm_attention"} if family == "qwen3" else set())
