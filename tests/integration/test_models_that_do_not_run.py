"""A config whose model fails in transformers is refused by the plan, without any check."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConverterError, SourceError, convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.models import targets
from forgather_convert.testing.models import write_model
from support.command import forgather
from support.converting import convert_unchecked, edit_config
from support.refusals import assert_refused


def model_of(family: str, directory: Path, **fields: Any) -> Path:
    hooks = resolve_converter(family)
    return write_model(
        directory, hooks, {**next(iter(hooks.get_tiny_configs().values())), **fields}
    )


@pytest.mark.parametrize(
    ("family", "fields", "words"),
    [
        ("deepseek_v3", {"topk_group": 9}, ["DeepseekV3ForCausalLM", "out of range"]),
        ("mixtral", {"num_experts_per_tok": 70}, ["MixtralForCausalLM", "out of range"]),
        ("qwen3_moe", {"num_experts_per_tok": 70}, ["Qwen3MoeForCausalLM", "out of range"]),
    ],
    ids=["groups", "mixtral", "qwen3_moe"],
)
def test_both_ways(family: str, fields: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    source = model_of(family, tmp_path / "hf")
    there = convert_unchecked(source, tmp_path / "fg")
    for directory in (source, there):
        edit_config(directory, **fields)
        place = directory / "config.json"
        assert_refused(
            directory, SourceError, *words, place, "install another version", logit_check=False
        )


def test_an_odd_number_of_rotated_dimensions(tmp_path: Path) -> None:
    """There is an even number of angles, and Phi takes as many dimensions as its config says."""
    source = model_of("phi", tmp_path / "hf", partial_rotary_factor=0.2)
    assert_refused(source, SourceError, "PhiForCausalLM", "must match", logit_check=False)


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("phi", {"partial_rotary_factor": 0.1}),
        ("llama", {"hidden_size": 4, "head_dim": 1}),
        ("phi3", {"hidden_size": 4}),
    ],
)
def test_a_single_rotated_dimension(family: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """It becomes two in transformers' code, which runs: the result computes the same."""
    logits = convert(model_of(family, tmp_path / "hf", **fields), tmp_path / "fg").logits
    assert logits is not None
    assert logits.are_equal


def test_the_command_says_it_in_a_dry_run(tmp_path: Path) -> None:
    source = model_of("mixtral", tmp_path / "hf")
    edit_config(source, num_experts_per_tok=70)
    ended = forgather("convert", "--dry-run", source, tmp_path / "out")
    assert ended.returncode == 1
    assert "does not run with MixtralForCausalLM of transformers" in ended.stderr


def test_a_component_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a converter makes must run, too, also if nobody checks it."""
    source = model_of("llama", tmp_path / "hf")
    right, wrong = "query.transpose(1, 2), key", "query.transpose(1, 3), key"

    def generate_badly(project: Any, **options: Any) -> Any:
        code = generate_code(project, **options)
        files = {name: text.replace(right, wrong) for name, text in code.files.items()}
        assert files != code.files
        return replace(code, files=files)

    monkeypatch.setattr(targets, "generate_code", generate_badly)
    assert_refused(source, ConverterError, "llama", "does not run", logit_check=False)
