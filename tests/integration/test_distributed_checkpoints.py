"""Distributed checkpoints convert as the merged ones do, without being merged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import SourceError, plan
from support.command import forgather, run_convert
from support.converting import convert_unchecked
from support.directories import snapshot
from support.models import random_state, write_hf_model, write_weights
from support.pairs import Pair
from support.sharded_checkpoints import save_fully_sharded
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

_LLAMA = variant("llama-default")
_ACCELERATE = "checkpoint-7/pytorch_model_fsdp_0"


@pytest.fixture(scope="module")
def trained(
    convert_once: Callable[[Variant, str], Pair], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A Forgather model with a checkpoint of FSDP, and the same with the merged checkpoint."""
    fg = convert_once(_LLAMA, "bfloat16").fg
    parent = tmp_path_factory.mktemp("trained")
    sharded, merged = (shutil.copytree(fg, parent / name / "fg") for name in ("a", "b"))
    state = {name: tensor * 2 for name, tensor in load_file(fg / "model.safetensors").items()}
    save_fully_sharded(sharded / _ACCELERATE, state)
    # As accelerate has it beside the model's.
    shutil.copytree(sharded / _ACCELERATE, sharded / "checkpoint-7/optimizer_0")
    (merged / "checkpoint-7").mkdir()
    write_weights(merged / "checkpoint-7", state)
    for directory in (sharded, merged):
        (directory / "checkpoint-7/trainer_state.json").write_text('{"global_step": 7}')
    return sharded, merged


def test_the_latest_checkpoint_is_read_from_its_parts(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    sharded, merged = trained
    before = snapshot(sharded)
    result = run_convert(sharded, tmp_path / "a")
    assert "checkpoint-7" in result.stderr
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    # It is a model without one.
    assert [line for line in warnings if "has no tokenizer" not in line] == []
    assert snapshot(sharded) == before
    assert snapshot(tmp_path / "a") == snapshot(convert_unchecked(merged, tmp_path / "b"))


def test_a_checkpoint_is_a_source_itself(trained: tuple[Path, Path], tmp_path: Path) -> None:
    sharded, merged = trained
    expected = snapshot(convert_unchecked(merged / "checkpoint-7", tmp_path / "b"))
    assert snapshot(convert_unchecked(sharded / "checkpoint-7", tmp_path / "a")) == expected


def test_the_directory_of_the_parts_can_be_named(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    sharded, merged = trained
    parts = sharded / _ACCELERATE
    result = convert_unchecked(sharded, tmp_path / "a", checkpoint_path=parts)
    assert snapshot(result) == snapshot(convert_unchecked(merged, tmp_path / "b"))


def test_a_hugging_face_model_in_one_directory(tmp_path: Path) -> None:
    """As ``dcp.save(model.state_dict())`` leaves it beside a config."""
    state = random_state(_LLAMA, torch.bfloat16)
    expected = write_hf_model(tmp_path / "merged", _LLAMA, "bfloat16", state=state)
    source = tmp_path / "hf"
    source.mkdir()
    for name in ("config.json", "generation_config.json"):
        shutil.copyfile(expected / name, source / name)
    save_fully_sharded(source, state, key="")
    run_convert(source, tmp_path / "a")
    convert_unchecked(expected, tmp_path / "b")
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {path.name for path in (tmp_path / "b").iterdir()}


def test_parts_without_metadata_are_an_unfinished_checkpoint(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    sharded = shutil.copytree(trained[0], tmp_path / "fg")
    (sharded / _ACCELERATE / ".metadata").unlink()
    result = forgather("convert", sharded, tmp_path / "hf")
    assert result.returncode == 1
    assert "but no .metadata" in result.stderr
    assert not (tmp_path / "hf").exists()


def test_parts_of_two_models_are_not_chosen_from(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    sharded = shutil.copytree(trained[0], tmp_path / "fg")
    parts = sharded / _ACCELERATE
    shutil.copytree(parts, parts.with_name("pytorch_model_fsdp_1"))
    with pytest.raises(SourceError, match="several models"):
        plan(sharded, tmp_path / "hf")
