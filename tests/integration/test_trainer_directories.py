"""What transformers' Trainer leaves converts to the model that was trained."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from forgather_convert import ConvertOptions, SourceError, convert
from support.converting import (
    assert_rope_is_for_both_transformers,
    convert_unchecked,
    logits_of,
    plain_logits,
    read_config,
)
from support.directories import differences
from support.log import logged
from support.models import load_forgather, prompt, write_hf_model
from support.pairs import Pair
from support.tokenizer_files import write_tokenizer
from support.variants import Variant, variant

Pairs = Callable[[Variant, str], Pair]

_TIED = variant("llama-tied")
_LLAMA3 = variant("llama-llama3")
_NO_SPECIAL_TOKENS = Variant(
    "llama",
    "no-special-tokens",
    {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None},
)


def _name(value: object) -> str:
    return str(getattr(value, "id", None) or getattr(value, "name", value))


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        pair: The model that it began with.
        output: The trainer's output directory: ``checkpoint-1`` and ``checkpoint-2``.
        saved: What ``save_model`` wrote.
        logits: What the trained model gives.
    """

    pair: Pair
    output: Path
    saved: Path
    logits: torch.Tensor


@pytest.fixture(scope="module")
def train_once(
    convert_once: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Variant], Training]:
    """Trains a model for two steps; each one once."""
    done: dict[str, Training] = {}

    def get(variant: Variant) -> Training:
        if variant.id not in done:
            directory = tmp_path_factory.mktemp(f"training-{variant.id}")
            done[variant.id] = _train(convert_once(variant, "float32"), directory)
        return done[variant.id]

    return get


def _train(pair: Pair, directory: Path) -> Training:
    arguments = transformers.TrainingArguments(
        output_dir=str(directory / "output"),
        max_steps=2,
        save_steps=1,
        learning_rate=0.01,
        per_device_train_batch_size=2,
        dataloader_pin_memory=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
    )
    rows = [{"input_ids": row, "labels": row} for row in prompt(batch=4)]
    trainer = transformers.Trainer(load_forgather(pair.fg), arguments, train_dataset=rows)
    trainer.train()
    trainer.save_model(str(directory / "saved"))
    logits = logits_of(trainer.model.eval())
    assert not torch.equal(logits, logits_of(load_forgather(pair.fg)))
    return Training(pair, directory / "output", directory / "saved", logits)


_TRAINED = [_LLAMA3, _TIED, variant("mistral-window"), variant("qwen3-tied"), _NO_SPECIAL_TOKENS]
trained = pytest.mark.parametrize("variant", _TRAINED, ids=_name)


@trained
@pytest.mark.parametrize("kind", ["output", "checkpoint", "saved"])
def test_directories_of_the_trainer(
    kind: str, variant: Variant, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """They are complete models, though they have no provenance."""
    training = train_once(variant)
    source = {
        "output": training.output,
        "checkpoint": training.output / "checkpoint-2",
        "saved": training.saved,
    }[kind]
    hf = convert_unchecked(source, tmp_path / "hf")
    assert torch.equal(plain_logits(hf), training.logits)
    config = read_config(hf)
    assert_rope_is_for_both_transformers(config)
    for field in ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"):
        assert config[field] == variant.config()[field]


@trained
@pytest.mark.parametrize("kind", ["option", "inside"])
def test_a_checkpoint_of_a_converted_model(
    kind: str, variant: Variant, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """Only the weights have changed since the model was converted."""
    training = train_once(variant)
    if kind == "option":
        checkpoint = training.output / "checkpoint-2"
        hf = convert_unchecked(training.pair.fg, tmp_path / "hf", checkpoint_path=checkpoint)
    else:
        fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
        shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
        hf = convert_unchecked(fg, tmp_path / "hf")
    assert torch.equal(plain_logits(hf), training.logits)
    assert differences(training.pair.hf, hf) == ["differs: model.safetensors"]


def test_what_belongs_to_the_training_is_left_out(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """Optimizer, schedule and random state are no part of a model to deploy."""
    checkpoint = train_once(_TIED).output / "checkpoint-2"
    state = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    assert state <= {path.name for path in checkpoint.iterdir()}
    with logged() as messages:
        hf = convert_unchecked(checkpoint, tmp_path / "hf")
    names = {path.name for path in hf.iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors"}
    (message,) = [text for text in messages if text.startswith("Not copied")]
    assert all(name in message for name in state)


def test_the_first_checkpoint_on_request(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    training = train_once(_TIED)
    first = training.output / "checkpoint-1"
    hf = convert_unchecked(training.output, tmp_path / "hf", checkpoint_path=first)
    assert torch.equal(plain_logits(hf), logits_of(load_forgather(first)))
    assert not torch.equal(plain_logits(hf), training.logits)


# A checkpoint in the model that was trained


@pytest.fixture(params=["", "checkpoints/"], ids=["in the model", "in its checkpoints"])
def trained_model(
    request: pytest.FixtureRequest, train_once: Callable[[Variant], Training], tmp_path: Path
) -> tuple[Path, Path]:
    """A model with a tokenizer of its own, and the checkpoint of a training in it."""
    training = train_once(_TIED)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    write_tokenizer(fg)
    checkpoint = fg / request.param / "checkpoint-2"
    return fg, shutil.copytree(training.output / "checkpoint-2", checkpoint)


def test_a_checkpoint_as_the_source_is_the_checkpoint_of_its_model(
    trained_model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Config, tokenizer and provenance are the model's; only the weights are the checkpoint's."""
    fg, checkpoint = trained_model
    expected = convert_unchecked(fg, tmp_path / "expected", checkpoint_path=checkpoint)
    assert (expected / "tokenizer.json").is_file()
    with logged() as messages:
        direct = convert_unchecked(checkpoint, tmp_path / "direct")
    assert differences(expected, direct) == []
    assert any(f"{checkpoint} is a checkpoint of {fg}" in text for text in messages)
    monkeypatch.chdir(checkpoint)
    assert differences(expected, convert_unchecked(Path(), tmp_path / "here")) == []


def test_a_link_to_a_checkpoint_as_the_source(
    trained_model: tuple[Path, Path], tmp_path: Path
) -> None:
    fg, checkpoint = trained_model
    expected = convert_unchecked(fg, tmp_path / "expected", checkpoint_path=checkpoint)
    (tmp_path / "latest").symlink_to(checkpoint)
    assert differences(expected, convert_unchecked(tmp_path / "latest", tmp_path / "hf")) == []


def test_the_directory_of_the_checkpoints_as_the_source(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    training = train_once(_TIED)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    shutil.copytree(training.output / "checkpoint-2", fg / "checkpoints" / "checkpoint-2")
    expected = convert_unchecked(fg, tmp_path / "expected")
    direct = convert_unchecked(fg / "checkpoints", tmp_path / "direct")
    assert differences(expected, direct) == []


def test_a_checkpoint_without_a_config_as_the_source(
    trained_model: tuple[Path, Path], tmp_path: Path
) -> None:
    """Some trainers save the weights and nothing else."""
    fg, checkpoint = trained_model
    expected = convert_unchecked(fg, tmp_path / "expected", checkpoint_path=checkpoint)
    for path in checkpoint.iterdir():
        if path.suffix != ".safetensors":
            path.unlink()
    assert differences(expected, convert_unchecked(checkpoint, tmp_path / "hf")) == []


def test_a_checkpoint_of_a_hugging_face_model_without_a_config(tmp_path: Path) -> None:
    hf = write_hf_model(tmp_path / "hf", _LLAMA3)
    checkpoint = hf / "checkpoint-5"
    checkpoint.mkdir()
    shutil.copyfile(hf / "model.safetensors", checkpoint / "model.safetensors")
    expected = convert_unchecked(hf, tmp_path / "expected")
    assert differences(expected, convert_unchecked(checkpoint, tmp_path / "fg")) == []


def test_a_checkpoint_in_another_model_is_its_own(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """An output directory may hold the config of something else."""
    checkpoint = train_once(_TIED).output / "checkpoint-2"
    alone = convert_unchecked(checkpoint, tmp_path / "alone")
    other = write_hf_model(tmp_path / "other", _LLAMA3)
    inside = shutil.copytree(checkpoint, other / "checkpoint-2")
    assert differences(alone, convert_unchecked(inside, tmp_path / "hf")) == []


@pytest.mark.parametrize("kind", ["latest", "option", "source"])
def test_a_model_that_was_trained_with_another_config(
    kind: str, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """The weights are right with the values that they were trained with only."""
    training = train_once(_LLAMA3)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    checkpoint = shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
    changed = {"rms_norm_eps": 0.01, "rope_parameters": {**_rope(checkpoint), "factor": 2.0}}
    config = {**read_config(checkpoint), **changed}
    for name in ("rope_theta", "rope_scaling"):
        config.pop(name, None)
    (checkpoint / "config.json").write_text(json.dumps(config))
    options: dict[str, Any] = {"checkpoint_path": checkpoint} if kind == "option" else {}
    hf = tmp_path / "hf"
    with logged(logging.WARNING) as warnings:
        # With the logit check: it is between models with the same values.
        convert(checkpoint if kind == "source" else fg, hf, ConvertOptions(**options))
    assert any("rms_norm_eps, rope_parameters" in text for text in warnings)
    result = read_config(hf)
    assert result["rms_norm_eps"] == 0.01
    assert result["rope_parameters"]["factor"] == 2.0
    assert_rope_is_for_both_transformers(result)


def _rope(directory: Path) -> dict[str, Any]:
    rope: dict[str, Any] = read_config(directory)["rope_parameters"]
    return rope


@pytest.mark.parametrize("variant", _TRAINED, ids=_name)
def test_a_training_by_itself_changes_no_config(
    variant: Variant, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """What the trainer does to the config is not said to be a change of the model."""
    training = train_once(variant)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
    with logged(logging.WARNING) as warnings:
        hf = convert_unchecked(fg, tmp_path / "hf")
    assert not [text for text in warnings if "trained" in text]
    assert differences(training.pair.hf, hf) == ["differs: model.safetensors"]


def test_a_tokenizer_in_the_checkpoint_alone_is_named(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    training = train_once(_TIED)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    checkpoint = shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
    write_tokenizer(checkpoint)
    assert f"{fg} has no tokenizer, so the result has none. {checkpoint} has one" in (
        _warnings_of_converting(fg, tmp_path / "hf")
    )


def test_a_tokenizer_around_a_checkpoint_of_its_own_is_named(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA3)
    checkpoint = write_hf_model(source / "checkpoints" / "checkpoint-2", _LLAMA3)
    assert "tokenizer" not in _warnings_of_converting(checkpoint, tmp_path / "without")
    write_tokenizer(source)
    assert f"{checkpoint} has no tokenizer, so the result has none. {source} has one" in (
        _warnings_of_converting(checkpoint, tmp_path / "fg")
    )


@pytest.mark.parametrize("kind", ["checkpoint", "saved", "by itself"])
def test_a_model_that_was_saved_without_its_tokenizer(
    kind: str, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    training = train_once(_TIED)
    if kind == "by itself":
        load_forgather(training.pair.fg).save_pretrained(tmp_path / "source")
    else:
        place = training.saved if kind == "saved" else training.output / "checkpoint-2"
        shutil.copytree(place, tmp_path / "source")
    said = f"{tmp_path / 'source'} has no tokenizer, so the result has none"
    assert said in _warnings_of_converting(tmp_path / "source", tmp_path / "hf")
    write_tokenizer(tmp_path / "source")
    assert said not in _warnings_of_converting(tmp_path / "source", tmp_path / "other")


def _warnings_of_converting(source: Path, destination: Path) -> str:
    with logged(logging.WARNING) as warnings:
        convert_unchecked(source, destination)
    return "\n".join(warnings)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_tokenizer_with_other_tokens_is_not_lost(
    is_new: bool, train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """Saved again by another library it is another file, but the same tokenizer."""
    training = train_once(_TIED)
    fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
    checkpoint = shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
    for directory in (fg, checkpoint):
        write_tokenizer(directory)
    path = checkpoint / "tokenizer.json"
    content = json.loads(path.read_text())
    if is_new:
        content["added_tokens"].append({"id": 159, "content": "<new>", "special": True})
    path.write_text(json.dumps(content, indent=1))
    if is_new:
        with pytest.raises(SourceError, match="'<new>'"):
            convert_unchecked(fg, tmp_path / "hf")
    else:
        hf = convert_unchecked(fg, tmp_path / "hf")
        assert (hf / "tokenizer.json").read_bytes() == (fg / "tokenizer.json").read_bytes()
