"""What the Forgather framework does with a converted model works.

The framework is on no package index. Its own programs are run by ``tests/framework_real``; these
tests make the same calls.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, SourceError, convert
from support import framework_calls as framework
from support.converting import convert_unchecked
from support.models import load_forgather, load_hf, prompt, write_hf_model
from support.variants import PROMPT_LENGTH, variant

VARIANTS = ("llama-default", "llama-tied", "mistral-tied", "qwen3-tied")
FILES = {
    "single": ConvertOptions(logit_check=False),
    "sharded": ConvertOptions(logit_check=False, max_shard_size=40_000),
    "pytorch": ConvertOptions(logit_check=False, weights_format="pytorch"),
}
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is closed where the framework trains."""

    def ask(*_: Any) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Gives a variant as a Hugging Face directory and, by the kind of its files, converted."""
    made: dict[tuple[str, str], Path] = {}

    def get(name: str, files: str) -> Path:
        if (name, "hf") not in made:
            place = tmp_path_factory.mktemp(name)
            made[name, "hf"] = write_hf_model(place / "hf", variant(name))
        if (name, files) not in made:
            source = made[name, "hf"]
            made[name, files] = source.with_name(files)
            convert(source, made[name, files], FILES[files])
        return made[name, files]

    return get


def reference(make: Make, name: str) -> torch.Tensor:
    """The logits of the source."""
    with torch.no_grad():
        logits: torch.Tensor = load_hf(make(name, "hf"), variant(name).family)(prompt()).logits
    return logits


def logits_of(model: Any, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(prompt(), **arguments).logits
    return logits


def is_tied(model: Any) -> bool:
    return model.lm_head.weight is model.get_input_embeddings().weight


def trained(directory: Path) -> tuple[Any, Path]:
    """A model after a step of training, and the checkpoint that the framework saves of it."""
    model = framework.build(directory)
    framework.load_checkpoint(directory, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(prompt(), labels=prompt()).loss.backward()
    optimizer.step()
    checkpoint = directory / "checkpoints" / "checkpoint-1"
    return model, framework.save_checkpoint(checkpoint, model)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("name", VARIANTS)
def test_strict_loading(name: str, files: str, device: str, make: Make) -> None:
    directory = make(name, files)
    model = framework.build(directory, device)
    framework.load_checkpoint(directory, model)
    assert is_tied(model) == name.endswith("tied")
    assert torch.equal(logits_of(model), reference(make, name))


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("name", VARIANTS)
def test_checkpoints_of_the_framework(name: str, files: str, make: Make, tmp_path: Path) -> None:
    """They load strictly, and are what is converted back."""
    directory = shutil.copytree(make(name, files), tmp_path / "model")
    model, checkpoint = trained(directory)
    again = framework.build(directory, "meta")
    framework.load_checkpoint(checkpoint, again)
    assert is_tied(again) == name.endswith("tied")
    assert torch.equal(logits_of(again), logits_of(model))
    hf = load_hf(convert_unchecked(directory, tmp_path / "hf"), variant(name).family)
    assert torch.equal(logits_of(hf), logits_of(model))
    assert not torch.equal(logits_of(model), reference(make, name))


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "copied"])
@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("name", ["llama-default", "qwen3-tied"])
def test_checkpoints_in_the_models_directory(
    name: str, files: str, is_linked: bool, make: Make, tmp_path: Path
) -> None:
    """By ``checkpoint link -f`` and by copying, and no checkpoint is anywhere else then."""
    directory = shutil.copytree(make(name, files), tmp_path / "model")
    model, checkpoint = trained(directory)
    kept = checkpoint.rename(tmp_path / "kept")
    shutil.rmtree(directory / "checkpoints")
    if is_linked:
        framework.link(directory, kept, force=True)
    else:
        shutil.copytree(kept, directory, dirs_exist_ok=True)
    if files == "pytorch":
        assert torch.equal(logits_of(load_forgather(directory)), logits_of(model))
    else:
        with pytest.raises(OSError, match=r"safetensors.* and in pytorch_model\.bin\.index\.json"):
            load_forgather(directory)
        with pytest.raises(SourceError, match="safetensors"):
            convert_unchecked(directory, tmp_path / "hf")
        for path in directory.glob("model*.safetensors*"):
            path.unlink()
        assert torch.equal(logits_of(load_forgather(directory)), logits_of(model))
    hf = load_hf(convert_unchecked(directory, tmp_path / "hf"), variant(name).family)
    assert torch.equal(logits_of(hf), logits_of(model))


def test_linking_does_not_replace_files_unasked(make: Make, tmp_path: Path) -> None:
    """What ``--format pytorch`` writes is called as what the framework links."""
    directory = shutil.copytree(make("llama-default", "pytorch"), tmp_path / "model")
    _, checkpoint = trained(directory)
    with pytest.raises(FileExistsError, match="is not a symlink"):
        framework.link(directory, checkpoint)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("stages", [((0, 1), (2,)), ((0,), (1,), (2,)), ((), (0, 1, 2), ())])
@pytest.mark.parametrize("name", ["llama-tied", "mistral-window", "qwen3-window-by-layer"])
def test_stages_of_a_pipeline(
    name: str, stages: tuple[tuple[int, ...], ...], mode: str, make: Make
) -> None:
    model = load_forgather(make(name, "single")).train(mode == "train")
    expected = model(prompt(), use_cache=False).logits
    parts = framework.split(model, *stages)
    names = [each for part in parts for each in part.state_dict()]
    assert sorted(names) == sorted(model.state_dict())
    mask = model.get_attn_mask_fn()(input_ids=prompt())
    for arguments in ({}, {"attention_mask": mask}):
        assert torch.equal(framework.run_stages(parts, prompt(), **arguments), expected)
    hidden_states = framework.run_stages(parts, prompt(), return_hidden_states=True)
    assert torch.equal(model.get_output_embeddings()(hidden_states), expected)


@pytest.mark.parametrize("files", FILES)
def test_loading_stages(files: str, make: Make) -> None:
    """Each stage is given all weights, and takes its own."""
    directory = make("qwen3-tied", files)
    parts = framework.split(framework.build(directory), (0, 1), (2,))
    for part in parts:
        framework.load_checkpoint(directory, part)
    result = framework.run_stages(parts, prompt())
    assert torch.equal(result, reference(make, "qwen3-tied"))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["llama-default", "mistral-window", "qwen3-tied"])
def test_packed_sequences(name: str, attn_implementation: str, mode: str, make: Make) -> None:
    """Positions that begin again are all that says where a document begins."""
    # Sums of other lengths are added up in another order, which depends on the processor.
    options = {"attn_implementation": attn_implementation, "dtype": torch.float64}
    model = load_forgather(make(name, "single"), **options)
    assert model.config.use_cache
    model.train(mode == "train")
    lengths = (15, 9, PROMPT_LENGTH - 24)
    positions = torch.cat([torch.arange(length) for length in lengths]).expand_as(prompt())
    with torch.no_grad():
        packed = model(prompt(), position_ids=positions).logits
        documents = [model(each).logits for each in torch.split(prompt(), [*lengths], dim=1)]
        one_document = model(prompt()).logits
    torch.testing.assert_close(packed, torch.cat(documents, dim=1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(packed, one_document, atol=1e-2)
    mask = model.get_attn_mask_fn()(input_ids=prompt(), position_ids=positions)
    stages = framework.split(model, (0, 1), (2,))
    result = framework.run_stages(stages, prompt(), attention_mask=mask, position_ids=positions)
    assert torch.equal(result, packed)


def test_hidden_states_for_a_fused_loss(make: Make) -> None:
    model = load_forgather(make("llama-tied", "single"))
    assert model.can_return_hidden_states
    with torch.no_grad():
        hidden_states = model(input_ids=prompt(), return_hidden_states=True)
    assert torch.equal(model.get_output_embeddings()(hidden_states), logits_of(model))
