"""Models of every origin convert to what computes the same: ours, older ones, trained ones."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from forgather_convert import ConvertOptions, SourceError, convert
from support.directories import differences
from support.log import logged
from support.models import (
    TRANSFORMERS_MAJOR,
    hf_classes,
    load_forgather,
    load_hf,
    prompt,
    random_state,
    write_hf_model,
    write_weights,
)
from support.old_dialect import OldDialect, write_old_model
from support.pairs import Pair
from support.variants import PLAIN, VARIANTS, Variant, variant

Pairs = Callable[[Variant, str], Pair]

_PROVENANCE = "forgather_conversion.json"
_FINAL_NORM = "causal_lm.layer_stack.layer_norm.weight"
_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")
_LLAMA3 = variant("llama-llama3")
_NO_SPECIAL_TOKENS = Variant(
    "llama",
    "no-special-tokens",
    {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None},
)


def _name(value: object) -> str:
    return str(getattr(value, "id", None) or getattr(value, "name", value))


def _convert(source: Path, destination: Path, **options: Any) -> Path:
    """Converts without the logit check: the tests compare the logits themselves."""
    convert(source, destination, ConvertOptions(logit_check=False, **options))
    return destination


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(prompt()).logits
    return logits


def _plain_logits(directory: Path) -> torch.Tensor:
    """What a model gives when it is loaded without any option, as most people do."""
    return _logits(transformers.AutoModelForCausalLM.from_pretrained(directory).eval())


def _read_config(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


def _assert_rope_is_for_both_transformers(config: dict[str, Any]) -> None:
    """Version 4 of transformers reads the first two fields, version 5 the third, and they agree."""
    parameters = dict(config["rope_parameters"])
    assert config["rope_theta"] == parameters.pop("rope_theta")
    if parameters == {"rope_type": "default"}:
        assert config["rope_scaling"] is None
    else:
        assert config["rope_scaling"] == parameters


# Forgather models of this tool


@pytest.mark.parametrize("variant", VARIANTS, ids=_name)
def test_a_model_without_provenance(variant: Variant, convert_once: Pairs, tmp_path: Path) -> None:
    """A model that was copied without its history is complete all the same."""
    pair = convert_once(variant, "float32")
    without = shutil.ignore_patterns(_PROVENANCE)
    source = shutil.copytree(pair.fg, tmp_path / "fg", ignore=without)
    hf = _convert(source, tmp_path / "hf")
    assert torch.equal(_plain_logits(hf), _logits(load_forgather(pair.fg)))
    config = _read_config(hf)
    assert config["model_type"] == variant.family
    assert config["tie_word_embeddings"] == variant.config()["tie_word_embeddings"]
    _assert_rope_is_for_both_transformers(config)
    assert not list(hf.glob("*.py"))


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
def test_a_model_that_was_saved_again(
    variant: Variant, convert_once: Pairs, tmp_path: Path
) -> None:
    """The library writes its own selection of the config's fields."""
    model = load_forgather(convert_once(variant, "float32").fg)
    model.save_pretrained(tmp_path / "saved")
    hf = _convert(tmp_path / "saved", tmp_path / "hf")
    assert torch.equal(_plain_logits(hf), _logits(model))
    config = _read_config(hf)
    _assert_rope_is_for_both_transformers(config)
    assert config["tie_word_embeddings"] == variant.config()["tie_word_embeddings"]
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert config[field] == variant.config()[field]


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
def test_a_model_that_was_saved_over_itself(
    variant: Variant, convert_once: Pairs, tmp_path: Path
) -> None:
    """The provenance is still there, and what transformers rewrote has not changed the model."""
    pair = convert_once(variant, "float32")
    load_forgather(pair.fg).save_pretrained(tmp_path / "saved")
    source = shutil.copytree(pair.fg, tmp_path / "fg")
    shutil.copytree(tmp_path / "saved", source, dirs_exist_ok=True)
    hf = _convert(source, tmp_path / "hf")
    # transformers rewrites this file, too, and it is taken over as it is.
    assert set(differences(pair.hf, hf)) <= {"differs: generation_config.json"}


# Older Forgather models

_OLD_VARIANTS = [
    *PLAIN,
    _TIED,
    variant("qwen3-tied"),
    _LLAMA3,
    # The size of a head is in the weights only.
    variant("llama-head-dim"),
    variant("mistral-head-dim"),
    variant("qwen3-head-dim-128"),
]
_OLD_DIALECTS = [
    OldDialect("in-three-files", shards=3),
    OldDialect("trained", weights="checkpoints/checkpoint-7", has_caches=True),
    OldDialect("one-file", shards=1, has_caches=True),
    OldDialect("safetensors", weights="checkpoints/checkpoint-7", weights_format="safetensors"),
    OldDialect("without-family", has_family=False, dtype_field="torch_dtype"),
]


@pytest.mark.parametrize("variant", _OLD_VARIANTS, ids=_name)
def test_older_models(variant: Variant, convert_once: Pairs, tmp_path: Path) -> None:
    pair = convert_once(variant, "float32")
    source = write_old_model(tmp_path / "old", pair.fg, OldDialect("two-files"))
    hf = _convert(source, tmp_path / "hf")
    assert torch.equal(_plain_logits(hf), _logits(load_hf(pair.hf, variant.family)))
    _assert_rope_is_for_both_transformers(_read_config(hf))


@pytest.mark.parametrize("variant", [variant("mistral-tied"), _LLAMA], ids=_name)
@pytest.mark.parametrize("dialect", _OLD_DIALECTS, ids=_name)
def test_older_models_of_every_kind(
    variant: Variant, dialect: OldDialect, convert_once: Pairs, tmp_path: Path
) -> None:
    pair = convert_once(variant, "float32")
    source = write_old_model(tmp_path / "old", pair.fg, dialect)
    hf = tmp_path / "hf"
    convert(source, hf)
    assert torch.equal(_plain_logits(hf), _logits(load_hf(pair.hf, variant.family)))
    others = {path.name for path in hf.iterdir() if not path.name.startswith("model")}
    assert others == {"config.json", "generation_config.json", "chat_template.jinja"}


def test_an_older_model_says_in_full_what_it_left_out(convert_once: Pairs, tmp_path: Path) -> None:
    """What was a default where it was made is not the default of the class that reads it now."""
    pair = convert_once(variant("qwen3-tied"), "bfloat16")
    source = write_old_model(tmp_path / "old", pair.fg, OldDialect("two-files"))
    config = _read_config(_convert(source, tmp_path / "hf"))
    assert config["tie_word_embeddings"] is True
    assert config["head_dim"] == 16
    assert config["hidden_act"] == "silu"
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["dtype"] == "bfloat16"
    settings = ("code_generator", "compile_flex", "hf_model_type", "auto_map", "layer_dropout")
    assert not [name for name in settings if name in config]


# What transformers' Trainer leaves


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
    logits = _logits(trainer.model.eval())
    assert not torch.equal(logits, _logits(load_forgather(pair.fg)))
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
    hf = _convert(source, tmp_path / "hf")
    assert torch.equal(_plain_logits(hf), training.logits)
    config = _read_config(hf)
    _assert_rope_is_for_both_transformers(config)
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
        hf = _convert(training.pair.fg, tmp_path / "hf", checkpoint_path=checkpoint)
    else:
        fg = shutil.copytree(training.pair.fg, tmp_path / "fg")
        shutil.copytree(training.output / "checkpoint-2", fg / "checkpoint-2")
        hf = _convert(fg, tmp_path / "hf")
    assert torch.equal(_plain_logits(hf), training.logits)
    assert differences(training.pair.hf, hf) == ["differs: model.safetensors"]


def test_what_belongs_to_the_training_is_left_out(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    """Optimizer, schedule and random state are no part of a model to deploy."""
    checkpoint = train_once(_TIED).output / "checkpoint-2"
    state = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    assert state <= {path.name for path in checkpoint.iterdir()}
    with logged() as messages:
        hf = _convert(checkpoint, tmp_path / "hf")
    names = {path.name for path in hf.iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors"}
    (message,) = [text for text in messages if text.startswith("Not carried along")]
    assert all(name in message for name in state)


def test_the_first_checkpoint_on_request(
    train_once: Callable[[Variant], Training], tmp_path: Path
) -> None:
    training = train_once(_TIED)
    first = training.output / "checkpoint-1"
    hf = _convert(training.output, tmp_path / "hf", checkpoint_path=first)
    assert torch.equal(_plain_logits(hf), _logits(load_forgather(first)))
    assert not torch.equal(_plain_logits(hf), training.logits)


# Which checkpoint


class Checkpoints:
    """A Forgather model whose checkpoints differ in one value, by which they are told apart."""

    def __init__(self, fg: Path) -> None:
        self.fg = fg
        self._state = {
            name: tensor.clone() for name, tensor in load_file(fg / "model.safetensors").items()
        }

    def add(self, name: str, value: float) -> Path:
        """Adds a checkpoint whose final norm has the given value."""
        directory = self.fg / name
        directory.mkdir(parents=True)
        norm = torch.full_like(self._state[_FINAL_NORM], value)
        write_weights(directory, {**self._state, _FINAL_NORM: norm})
        return directory

    def converted(self, destination: Path, **options: Any) -> float:
        """Converts the model and gives the value that the result has."""
        _convert(self.fg, destination, **options)
        return float(load_file(destination / "model.safetensors")["model.norm.weight"][0])


@pytest.fixture
def checkpoints(convert_once: Pairs, tmp_path: Path) -> Checkpoints:
    return Checkpoints(shutil.copytree(convert_once(_LLAMA, "float32").fg, tmp_path / "fg"))


def test_the_highest_number_is_the_latest(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Numbers are compared, not names; and not the times, which a copy changes."""
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoint-9", 9.0)
    checkpoints.add("checkpoint-best", 99.0)
    assert checkpoints.converted(tmp_path / "hf") == 10.0


def test_both_places_are_searched(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoints/checkpoint-9", 9.0)
    assert checkpoints.converted(tmp_path / "one") == 10.0
    checkpoints.add("checkpoints/checkpoint-11", 11.0)
    assert checkpoints.converted(tmp_path / "other") == 11.0


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def _without_weights(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "optimizer.pt")


def _truncated(directory: Path) -> None:
    path = directory / "model.safetensors"
    os.truncate(path, path.stat().st_size - 100)


def _without_a_shard(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    write_weights(directory, state, shards=2)
    for name in ("model.safetensors", "model-00002-of-00002.safetensors"):
        (directory / name).unlink()


def _with_a_damaged_index(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text('{"weight_map": {')


@pytest.mark.parametrize(
    "damage",
    [_empty, _without_weights, _truncated, _without_a_shard, _with_a_damaged_index],
    ids=lambda damage: damage.__name__.removeprefix("_"),
)
def test_unusable_checkpoints_are_skipped_with_a_warning(
    damage: Callable[[Path], None], checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """A training that was killed while it saved leaves such a checkpoint."""
    checkpoints.add("checkpoint-9", 9.0)
    damage(checkpoints.add("checkpoint-10", 10.0))
    with logged(logging.WARNING) as warnings:
        assert checkpoints.converted(tmp_path / "hf") == 9.0
    assert len([text for text in warnings if "checkpoint-10" in text]) == 1


def test_only_unusable_checkpoints_leave_the_model_itself(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    _empty(checkpoints.add("checkpoint-10", 10.0))
    own = load_file(checkpoints.fg / "model.safetensors")[_FINAL_NORM]
    with logged(logging.WARNING) as warnings:
        assert checkpoints.converted(tmp_path / "hf") == float(own[0])
    assert any("checkpoint-10" in text for text in warnings)


@pytest.mark.parametrize(
    "requested", ["checkpoint-9", "checkpoints/checkpoint-8", "checkpoint-8", "{fg}/checkpoint-9"]
)
def test_a_requested_checkpoint_wins(
    requested: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """By an absolute path, or by one that is relative to the model or its checkpoints."""
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoint-9", 9.0)
    checkpoints.add("checkpoints/checkpoint-8", 8.0)
    path = Path(requested.format(fg=checkpoints.fg))
    assert checkpoints.converted(tmp_path / "hf", checkpoint_path=path) == float(requested[-1])


def test_a_requested_checkpoint_is_relative_to_the_working_directory_first(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other path of a command line is."""
    checkpoints.add("checkpoint-9", 9.0)
    elsewhere = checkpoints.add("elsewhere/checkpoint-9", 90.0)
    monkeypatch.chdir(elsewhere.parent)
    value = checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("checkpoint-9"))
    assert value == 90.0


def test_a_requested_checkpoint_must_be_usable(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Another one in its place would be a surprise."""
    _truncated(checkpoints.add("checkpoint-10", 10.0))
    with pytest.raises(SourceError, match="truncated"):
        checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("checkpoint-10"))
    with pytest.raises(SourceError, match="Checkpoint not found"):
        checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("checkpoint-11"))
    assert not (tmp_path / "hf").exists()


# Hugging Face models as transformers itself writes them


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
@pytest.mark.parametrize("max_shard_size", ["5GB", "60KB"])
def test_models_that_transformers_saved(
    variant: Variant, max_shard_size: str, tmp_path: Path
) -> None:
    config_class, model_class = hf_classes(variant.family)
    model = model_class(config_class(**variant.config(str(TRANSFORMERS_MAJOR)))).eval()
    model.load_state_dict(random_state(variant, torch.float32), strict=False)
    source = tmp_path / "hf"
    model.save_pretrained(source, max_shard_size=max_shard_size)
    assert (source / "model.safetensors").exists() == (max_shard_size == "5GB")
    fg = _convert(source, tmp_path / "fg")
    assert torch.equal(_logits(load_forgather(fg)), _logits(model))
    assert differences(source, _convert(fg, tmp_path / "back")) == []


_ROPES = [
    *(candidate for candidate in VARIANTS if candidate.rope is not None),
    # Version 4 takes the base of a config of version 5 for 10000, without a word.
    replace(_LLAMA, name="theta", theta=500000.0),
    replace(variant("mistral-window"), name="theta", theta=1000000.0),
    replace(variant("qwen3-untied"), name="theta", theta=1000000.0),
]


@pytest.mark.parametrize("variant", _ROPES, ids=_name)
@pytest.mark.parametrize("schema", ["4", "5"])
def test_configs_of_the_other_transformers(variant: Variant, schema: str, tmp_path: Path) -> None:
    """The result does not depend on which version wrote the config and which one converts."""
    state = random_state(variant, torch.float32)
    right = write_hf_model(tmp_path / "right", variant, state=state)
    source = write_hf_model(tmp_path / "hf", variant, schema=schema, state=state)
    fg = _convert(source, tmp_path / "fg")
    expected = _logits(load_hf(right, variant.family))
    assert torch.equal(_logits(load_forgather(fg)), expected)

    # Without the original's text the result is for both versions, whatever the source was for.
    (fg / _PROVENANCE).unlink()
    hf = _convert(fg, tmp_path / "back")
    _assert_rope_is_for_both_transformers(_read_config(hf))
    assert torch.equal(_plain_logits(hf), expected)


def test_a_config_of_both_schemas_that_disagree_is_read_as_transformers_5_reads_it(
    tmp_path: Path,
) -> None:
    """``rope_scaling`` wins there, and version 4 knows nothing else."""
    config = _LLAMA3.config("both")
    config |= {
        "dtype": "float32",
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    }
    state = random_state(_LLAMA3, torch.float32)
    right = write_hf_model(tmp_path / "right", _LLAMA3, state=state)
    source = write_hf_model(tmp_path / "hf", _LLAMA3, state=state, config=config)
    fg = _convert(source, tmp_path / "fg")
    assert torch.equal(_logits(load_forgather(fg)), _logits(load_hf(right, "llama")))


def test_a_distributed_checkpoint_is_not_passed_over(tmp_path: Path) -> None:
    """Converting an older checkpoint instead would lose training without a word."""
    source = write_hf_model(tmp_path / "hf", variant("llama-default"))
    convert(source, tmp_path / "fg")
    shards = tmp_path / "fg" / "checkpoint-9" / "pytorch_model_fsdp_0"
    shards.mkdir(parents=True)
    (shards / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(SourceError, match="accelerate merge-weights"):
        convert(tmp_path / "fg", tmp_path / "back")
