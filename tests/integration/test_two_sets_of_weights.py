"""Weights of two formats in one directory: never one of them silently."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import ConvertOptions, SourceError, convert, inspect, plan, verify
from forgather_convert.compare.verify import VerifyOptions
from support.command import run_convert
from support.converting import convert_unchecked
from support.models import write_hf_model, write_weights
from support.refusals import assert_command_refuses, assert_refused
from support.variants import variant

pytestmark = pytest.mark.version_independent

INDEX = "pytorch_model.bin.index.json"
SINGLE = "model.safetensors"
NORM = "causal_lm.layer_stack.layer_norm.weight"
MORE = "causal_lm.layer_stack.layers.9.norm1.weight"
HEAD = "lm_head.weight"
EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
TRAINED = 7.0


@pytest.fixture
def fg(tmp_path: Path) -> Path:
    """A tied Forgather model, as it was converted."""
    source = write_hf_model(tmp_path / "hf", variant("qwen3-tied"), dtype="bfloat16")
    return convert_unchecked(source, tmp_path / "fg")


def _state(fg: Path) -> dict[str, torch.Tensor]:
    return load_file(fg / SINGLE)


def _train(fg: Path, **changes: torch.Tensor) -> Path:
    """Adds a checkpoint as the framework's trainer does: ``.bin`` files with both tied names."""
    checkpoint = fg / "checkpoints" / "checkpoint-10"
    checkpoint.mkdir(parents=True)
    state = {**_state(fg), NORM: torch.full_like(_state(fg)[NORM], TRAINED), **changes}
    write_weights(checkpoint, {**state, HEAD: state[EMBEDDING]}, 2, "pytorch")
    return checkpoint


def _norm(directory: Path) -> float:
    return float(load_file(directory / SINGLE)["model.norm.weight"][0])


def _link(fg: Path, checkpoint: Path) -> None:
    """What the framework's ``checkpoint link`` does."""
    for path in checkpoint.iterdir():
        (fg / path.name).symlink_to(os.path.relpath(path, fg))


def _finalize(fg: Path, checkpoint: Path) -> None:
    """What the framework's documentation says to do when the training is done."""
    for path in checkpoint.iterdir():
        shutil.copy(path, fg)
    shutil.rmtree(checkpoint.parent)


def test_trained_weights_that_were_copied_beside_the_old_ones(fg: Path, tmp_path: Path) -> None:
    _finalize(fg, _train(fg))
    newer = f"{INDEX} is the newer one"
    assert_refused(fg, SourceError, fg, SINGLE, INDEX, NORM, "they differ", newer)
    words = (fg, SINGLE, INDEX)
    assert_command_refuses(tmp_path, fg, tmp_path / "out", words=words)
    with pytest.raises(SourceError, match="they differ"):
        verify(fg, fg, VerifyOptions(logit_check=False))
    (fg / SINGLE).unlink()
    assert _norm(convert_unchecked(fg, tmp_path / "back")) == TRAINED


def test_trained_weights_that_were_linked(fg: Path, tmp_path: Path) -> None:
    """The newest checkpoint is converted; the model's own weights are refused."""
    _link(fg, _train(fg))
    assert _norm(convert_unchecked(fg, tmp_path / "back")) == TRAINED
    assert_refused(fg, SourceError, SINGLE, INDEX, NORM, checkpoint_path=fg)


def test_links_that_lead_nowhere(fg: Path) -> None:
    checkpoint = _train(fg)
    _link(fg, checkpoint)
    shutil.rmtree(checkpoint.parent)
    assert_refused(fg, SourceError, SINGLE, INDEX, "cannot be read")


@pytest.mark.parametrize("names", [(SINGLE, INDEX), ("model.safetensors.index.json", SINGLE)])
def test_the_same_weights_twice(fg: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    """With and without the second name of the tied weight."""
    state = _state(fg)
    if INDEX in names:
        write_weights(fg, {**state, HEAD: state[EMBEDDING]}, 2, "pytorch")
    else:
        write_weights(fg, {**state, HEAD: state[EMBEDDING].clone()}, 2)
    (remark,) = inspect(fg).remarks
    assert all(name in remark for name in names)
    back = convert_unchecked(fg, tmp_path / "back")
    assert _norm(back) == float(state[NORM][0])


def test_inspect_compares_headers(fg: Path) -> None:
    state = _state(fg)
    write_weights(fg, {**state, NORM: state[NORM].float()}, 2, "pytorch")
    (problem,) = inspect(fg).problems
    for word in (SINGLE, INDEX, NORM, "bfloat16", "float32"):
        assert word in problem


@pytest.mark.parametrize("place", [SINGLE, INDEX])
def test_a_tensor_that_only_one_has(fg: Path, place: str) -> None:
    state = _state(fg)
    if place == SINGLE:
        state.pop(NORM)
    else:
        state[MORE] = torch.zeros(3)
    write_weights(fg, state, 2, "pytorch")
    name = NORM if place == SINGLE else MORE
    assert_refused(fg, SourceError, "only the", "former" if place == SINGLE else "latter", name)


def test_weights_of_something_else(fg: Path) -> None:
    write_weights(fg, {"any": torch.zeros(3), "other": torch.zeros(3)}, 2, "pytorch")
    assert_refused(fg, SourceError, SINGLE, INDEX, "only the former")


def test_a_second_name_with_other_values(fg: Path) -> None:
    state = _state(fg)
    write_weights(fg, {**state, HEAD: state[EMBEDDING] + 1}, 2, "pytorch")
    assert_refused(fg, SourceError, "only the latter", HEAD)


def test_damaged_weights_of_a_trained_model(fg: Path) -> None:
    """They may be the trained ones: the others must not stand in for them."""
    (fg / "pytorch_model.bin").write_bytes(b"damaged")
    assert_refused(fg, SourceError, SINGLE, "pytorch_model.bin", "cannot be read")


def _hugging_face(directory: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    source = write_hf_model(directory / "hf", variant("qwen3-tied"), dtype="bfloat16")
    return source, load_file(source / SINGLE)


def test_hugging_face_models(tmp_path: Path) -> None:
    source, state = _hugging_face(tmp_path)
    name = "model.norm.weight"
    torch.save({**state, name: state[name] + 1}, source / "pytorch_model.bin")
    assert_refused(source, SourceError, source, SINGLE, "pytorch_model.bin", name)
    # As transformers once saved them, with second names and tables.
    tables = {"x.inv_freq": torch.ones(4), "model.layers.0.self_attn.bias": torch.ones(3, 3)}
    old = {**state, HEAD: state["model.embed_tokens.weight"], **tables}
    torch.save(old, source / "pytorch_model.bin")
    plan(source, tmp_path / "fg")


def test_weights_of_a_hugging_face_model_that_cannot_be_read(tmp_path: Path) -> None:
    """Many models still have a file of torch 1.5 beside safetensors."""
    source, state = _hugging_face(tmp_path)
    path = source / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    result = run_convert("--no-logit-check", source, tmp_path / "fg")
    assert "pytorch_model.bin, which cannot be read to compare them" in result.stderr


def test_what_has_nothing_to_load(tmp_path: Path) -> None:
    source, state = _hugging_face(tmp_path)
    index = {"metadata": {}, "weight_map": dict.fromkeys(state, "pytorch_model-00001-of-00002.bin")}
    (source / INDEX).write_text(json.dumps(index))
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (source / "pytorch_model.bin").write_text(pointer)
    index["weight_map"] = dict.fromkeys(state, SINGLE)
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    assert inspect(source).problems == ()
    assert inspect(source).remarks == ()
    plan(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))


def test_single_and_divided_files_of_one_format(tmp_path: Path) -> None:
    source, state = _hugging_face(tmp_path)
    changed = {name: tensor + 1 for name, tensor in state.items()}
    write_weights(source, changed, 2)
    assert_refused(source, SourceError, SINGLE, "model.safetensors.index.json")
    save_file(changed, source / SINGLE, metadata={"format": "pt"})
    plan(source, tmp_path / "fg")


def test_a_checkpoint_with_two_formats(fg: Path) -> None:
    checkpoint = _train(fg)
    shutil.copy(fg / SINGLE, checkpoint)
    assert_refused(fg, SourceError, checkpoint, SINGLE, INDEX)
    convert(fg, fg.parent / "own", ConvertOptions(checkpoint_path=fg, logit_check=False))
