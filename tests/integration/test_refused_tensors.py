"""Tensors that do not fit the config are refused, by their names."""

from pathlib import Path

import pytest
import torch

from forgather_convert import (
    MappingError,
)
from support.models import random_state, write_hf_model
from support.refusals import (
    LLAMA,
    assert_refused,
    without,
    write_state,
)

pytestmark = pytest.mark.version_independent


def test_unmapped_tensors_are_named(tmp_path: Path) -> None:
    def add(state: dict[str, torch.Tensor]) -> None:
        for layer in range(3):
            state[f"model.layers.{layer}.self_attn.sinks"] = torch.zeros(4)

    source = write_state(tmp_path / "hf", add)
    assert_refused(
        source,
        MappingError,
        source,
        "(3)",
        "model.layers.{0..2}.self_attn.sinks",
        "not part of it",
    )


def test_tensors_of_a_layer_too_many_are_named(tmp_path: Path) -> None:
    """A config with fewer layers than the weights would drop the last ones."""
    source = write_state(tmp_path / "hf", lambda state: None, num_hidden_layers=2)
    assert_refused(source, MappingError, source, "model.layers.2.mlp.down_proj.weight")


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("model.norm.weight"))
    assert_refused(source, MappingError, source, "missing", "layer_norm.weight", "--debug-params")


def test_wrong_shape_is_told_with_the_right_one(tmp_path: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    source = write_state(tmp_path / "hf", lambda state: state.update({name: torch.zeros(95, 64)}))
    assert_refused(source, MappingError, name, source / "model.safetensors", "[95, 64]", "[96, 64]")


def test_base_model_with_its_own_names(tmp_path: Path) -> None:
    """``LlamaModel.save_pretrained`` writes names without ``model.`` and no head."""
    state = random_state(LLAMA, torch.bfloat16)
    del state["lm_head.weight"]
    base = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16", state=base)
    assert_refused(source, MappingError, source, "base model", "lm_head.weight")


def test_untied_model_without_head(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("lm_head.weight"))
    assert_refused(source, MappingError, source, "missing", "lm_head.weight")


def test_tied_model_with_another_head(tmp_path: Path) -> None:
    """It cannot be guessed which of the two counts: transformers 4 and 5 disagree."""
    source = write_state(tmp_path / "hf", lambda state: None, tie_word_embeddings=True)
    assert_refused(
        source,
        MappingError,
        source,
        "lm_head.weight",
        "model.embed_tokens.weight",
        "tie_word_embeddings",
    )
