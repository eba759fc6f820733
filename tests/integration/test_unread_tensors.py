"""Checkpoints as they are found: without a prefix, and with more than the class reads."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from forgather_convert import HFConverter, MappingError, convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_weights, write_model, write_weights
from support.log import logged

TIED = {**TINY_DECODER, "tie_word_embeddings": True}
MASK = "model.layers.{}.self_attn.bias"
PREDICTOR = "model.layers.9.eh_proj.weight"


class OldConfig(LlamaConfig):  # type: ignore[misc]
    model_type = "oldllama"


class OldForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """A class that passes over causal masks, and over layers for multi-token prediction."""

    config_class = OldConfig
    _keys_to_ignore_on_load_unexpected = [r"self_attn\.bias$", r"model\.layers\.9\."]


class OldConverter(HFConverter):
    model_type = "oldllama"

    def get_hf_model_class(self) -> Any:
        return OldForCausalLM


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    AutoConfig.register("oldllama", OldConfig, exist_ok=True)


def source_with(directory: Path, fields: Mapping[str, Any], change: Any, shards: int = 1) -> Path:
    """A model whose tensors are changed after it was saved."""
    write_model(directory, FamilyHooks(OldConverter(), "test"), fields, "bfloat16")
    state = read_weights(directory)
    (directory / "model.safetensors").unlink()
    write_weights(directory, change(state), shards)
    return directory


def there_and_back(source: Path) -> Path:
    """Both with the logit check."""
    for one, other in (("hf", "fg"), ("fg", "back")):
        convert(source.with_name(one), source.with_name(other), converter=OldConverter())
    return source.with_name("back")


def without_prefix(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_checkpoint_of_the_base_model_comes_back_as_it_was(shards: int, tmp_path: Path) -> None:
    source = source_with(tmp_path / "hf", TIED, without_prefix, shards)
    assert "norm.weight" in read_weights(source)
    assert differences(source, there_and_back(source)) == []


def test_the_same_tensor_by_two_names_is_one_too_many(tmp_path: Path) -> None:
    def twice(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "norm.weight": state["model.norm.weight"] + 1}

    source = source_with(tmp_path / "hf", TIED, twice)
    with pytest.raises(MappingError, match=r"1 tensors have no place in it:\n  norm\.weight"):
        convert(source, tmp_path / "fg", converter=OldConverter())


@pytest.mark.parametrize("shards", [1, 2])
def test_causal_masks_come_back(shards: int, tmp_path: Path) -> None:
    """Some megabytes, of which a kilobyte is kept."""
    mask = torch.ones(1, 1, 1024, 1024, dtype=torch.bool).tril()

    def with_masks(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, **{MASK.format(layer): mask.clone() for layer in range(3)}}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_masks, shards)
    with logged(logging.WARNING) as messages:
        assert differences(source, there_and_back(source)) == []
    assert messages == []


@pytest.mark.parametrize("shards", [1, 2])
def test_layers_that_the_class_does_not_read_are_named(shards: int, tmp_path: Path) -> None:
    """They are weights, and too large to keep: said, and left out on the way back."""
    predictor = torch.randn(64, 512)

    def with_predictor(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mask = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()
        return {**state, PREDICTOR: predictor.bfloat16(), MASK.format(0): mask}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_predictor, shards)
    with logged(logging.WARNING) as messages:
        back = there_and_back(source)
    (message,) = messages
    assert "not carried along" in message
    assert PREDICTOR in message
    assert MASK.format(0) not in message
    before, after = read_weights(source), read_weights(back)
    assert before.pop(PREDICTOR).shape == predictor.shape
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_no_class_passes_over_is_an_error(tmp_path: Path) -> None:
    def with_more(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "model.layers.8.eh_proj.weight": torch.ones(64)}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_more)
    with pytest.raises(MappingError, match="eh_proj"):
        convert(source, tmp_path / "fg", converter=OldConverter())
