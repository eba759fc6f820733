"""What the framework trained is what everybody loads and converts, or it is an error.

Three things are tried after training: the directory as the trainer left it, the framework's
``checkpoint link``, and its README's "Finalizing the Model", which copies the newest checkpoint's
weights into the model's directory.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from forgather_convert import ConvertOptions, SourceError, convert
from support.real_framework import (
    Models,
    Source,
    framework_command,
    load_as_trainer,
    logits,
    random_ids,
    train,
)

GetModels = Callable[[Source], Models]

SOURCES = [
    Source("llama", tied=True, dtype="float32", shards=1),
    Source("mistral", tied=False, dtype="bfloat16", shards=3),
    Source("qwen3", tied=True, dtype="bfloat16", shards=3),
]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.id)
each_format = pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])


@pytest.fixture
def trained(
    source: Source, weights_format: str, models: GetModels, project: Path, tmp_path: Path
) -> Path:
    """A model in the format, and three checkpoints of it."""
    directory = tmp_path / "model"
    if weights_format == "safetensors":
        shutil.copytree(models(source).ours, directory)
    else:
        convert(models(source).source, directory, pytorch_options(source))
    train(project, directory)
    return directory


def pytorch_options(source: Source) -> ConvertOptions:
    """Options for ``.bin`` files, several of them for a source that has several."""
    size = 100_000 if source.shards > 1 else None
    return ConvertOptions(weights_format="pytorch", max_shard_size=size, logit_check=False)


def load_alone(directory: Path) -> torch.Tensor:
    """The logits of what ``from_pretrained`` loads."""
    model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, dtype="auto")
    return logits(model, random_ids())


def convert_back(directory: Path) -> torch.Tensor:
    """The logits of what the reverse conversion gives."""
    result = directory.with_name("back")
    convert(directory, result)
    return logits(AutoModelForCausalLM.from_pretrained(result, dtype="auto"), random_ids())


def newest(directory: Path) -> Path:
    """The last checkpoint."""
    return max(directory.glob("checkpoints/*"), key=lambda path: path.stat().st_mtime)


@each_source
@each_format
def test_weights_of_the_last_checkpoint_are_converted(trained: Path) -> None:
    expected = logits(load_as_trainer(trained), random_ids())
    assert torch.equal(convert_back(trained), expected)
    assert not torch.equal(load_alone(trained), expected)


@each_source
@each_format
@pytest.mark.parametrize("force", [(), ("-f",)], ids=["link", "link-f"])
def test_linking(trained: Path, weights_format: str, force: tuple[str, ...]) -> None:
    expected = logits(load_as_trainer(trained), random_ids())
    if weights_format == "pytorch" and not force:
        # The framework refuses to replace a file by a link, its own models', too.
        command = ("checkpoint", "link", "--output-path", trained)
        with pytest.raises(AssertionError, match=r"pytorch_model.*exists and is not a symlink"):
            framework_command(*command)
        return
    framework_command("checkpoint", "link", *force, "--output-path", trained)
    assert (trained / "pytorch_model.bin.index.json").is_symlink()
    check_what_is_loaded(trained, expected)


@each_source
@each_format
def test_finalizing(trained: Path) -> None:
    expected = logits(load_as_trainer(trained), random_ids())
    for path in newest(trained).glob("pytorch_model*"):
        shutil.copy(path, trained)
    shutil.rmtree(trained / "checkpoints")
    check_what_is_loaded(trained, expected)


@each_source
def test_finalizing_as_the_error_says(
    source: Source, models: GetModels, project: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(models(source).ours, tmp_path / "model")
    train(project, directory)
    expected = logits(load_as_trainer(directory), random_ids())
    for path in newest(directory).glob("pytorch_model*"):
        shutil.copy(path, directory)
    for path in directory.glob("model*.safetensors*"):
        path.unlink()
    assert torch.equal(load_alone(directory), expected)
    assert torch.equal(convert_back(directory), expected)


def check_what_is_loaded(directory: Path, expected: torch.Tensor) -> None:
    """It is what was trained, or an error that says what to do."""
    both = list(directory.glob("model*.safetensors")) and list(directory.glob("*.bin"))
    if both:
        with pytest.raises(Exception, match=r"(?s)safetensors.*\.bin|\.bin.*safetensors"):
            load_alone(directory)
    else:
        assert torch.equal(load_alone(directory), expected)
    if both and not (directory / "checkpoints").exists():
        with pytest.raises(SourceError, match="safetensors"):
            convert_back(directory)
    else:
        assert torch.equal(convert_back(directory), expected)


@each_source
def test_format_pytorch_is_what_the_framework_writes(
    source: Source, models: GetModels, tmp_path: Path
) -> None:
    """Its loader, its linker and its index know the files."""
    from forgather.ml.sharded_checkpoint import (
        WEIGHTS_INDEX_NAME,
        get_checkpoint_metadata,
        load_shard_index,
    )

    ours = tmp_path / "pytorch"
    made = models(source)
    convert(made.source, ours, pytorch_options(source))
    metadata = get_checkpoint_metadata(str(ours))
    assert metadata is not None
    assert not metadata.safetensors
    assert metadata.file_name == WEIGHTS_INDEX_NAME
    weight_map = load_shard_index(str(ours), WEIGHTS_INDEX_NAME)["weight_map"]
    assert set(weight_map) == set(load_as_trainer(ours).state_dict())
    assert (len(set(weight_map.values())) > 1) == (source.shards > 1)
    expected = logits(load_as_trainer(made.reference), random_ids())
    assert torch.equal(logits(load_as_trainer(ours), random_ids()), expected)
    assert torch.equal(load_alone(ours), expected)


def test_the_newest_by_time_is_not_the_highest_number(
    models: GetModels, project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The framework resumes from the newest, this tool converts the highest: a warning says so."""
    from forgather.ml.sharded_checkpoint import find_latest_checkpoint

    directory = shutil.copytree(models(SOURCES[0]).ours, tmp_path / "model")
    train(project, directory)
    first, last = (directory / "checkpoints" / f"checkpoint-{step}" for step in (6, 12))
    later = last.stat().st_mtime + 10
    os.utime(first, (later, later))
    for path in first.iterdir():
        os.utime(path, (later, later))
    assert find_latest_checkpoint(str(directory)) == str(first)
    convert(directory, tmp_path / "back")
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and "checkpoint-6" in record.getMessage()
    ]
    assert "checkpoint-12" in warning
