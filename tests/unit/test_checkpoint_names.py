"""A side's parameters are what save_pretrained writes, on transformers 4 and 5 alike."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from forgather_convert.models.parameters import parameters_of
from support.transformers_families import FAMILIES, a_config


def _written(directory: Path) -> dict[str, tuple[int, ...]]:
    state = load_file(directory / "model.safetensors")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("is_tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_and_shapes_are_those_of_the_file(
    family: str, is_tied: bool, tmp_path: Path
) -> None:
    config = a_config(family, tie_word_embeddings=is_tied)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(config))
    assert parameters.shapes == _written(tmp_path)
    assert len(parameters.tied) == is_tied
    embedding, *head = parameters.vocabulary_tensors
    assert [parameters.shapes[name][0] for name in (embedding, *head)] == [64] * (1 + len(head))
    assert [*parameters.tied.values()] == [embedding] * is_tied
    assert len(head) == (not is_tied) + (family == "phi")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_are_the_same_under_every_version(family: str) -> None:
    config = a_config(family, tie_word_embeddings=False)
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(config))
    assert FAMILIES[family][1] in parameters


def test_nothing_is_computed_for_the_names() -> None:
    """A model of a size that no memory holds."""
    config = a_config("mixtral", tie_word_embeddings=False)
    config.hidden_size, config.intermediate_size, config.num_local_experts = 2**16, 2**18, 8
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(config))
    name = "model.layers.1.block_sparse_moe.experts.7.w2.weight"
    assert parameters.shapes[name] == (2**16, 2**18)


@pytest.mark.parametrize(
    ("family", "name", "is_unread"),
    [
        ("gpt2", "transformer.h.1.attn.bias", True),
        ("gpt2", "h.1.attn.bias", True),
        ("gpt2", "h.1.attn.masked_bias", True),
        ("gpt2", "h.1.attn.c_attn.bias", False),
        ("gpt2", "h.1.attn.c_attn.scale", False),
        ("gpt_neox", "gpt_neox.layers.0.attention.bias", True),
        ("gpt_neox", "gpt_neox.layers.0.attention.masked_bias", True),
        ("gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq", True),
        ("gpt_neox", "gpt_neox.layers.0.attention.dense.bias", False),
        ("deepseek_v3", "model.layers.61.eh_proj.weight", True),
        ("deepseek_v3", "model.layers.60.eh_proj.weight", False),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", True),
        ("llama", "model.layers.0.self_attn.q_proj.scale", False),
    ],
)
def test_what_the_class_does_not_read(family: str, name: str, is_unread: bool) -> None:
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(a_config(family)))
    assert parameters.is_unread(name) == is_unread


@pytest.mark.parametrize(
    ("family", "stored", "current"),
    [
        ("gpt2", "h.0.ln_1.weight", "transformer.h.0.ln_1.weight"),
        ("gpt2", "transformer.h.0.ln_1.weight", "transformer.h.0.ln_1.weight"),
        ("gpt2", "h.9.ln_1.weight", "h.9.ln_1.weight"),
        ("llama", "norm.weight", "model.norm.weight"),
        ("llama", "model.lm_head.weight", "lm_head.weight"),
    ],
)
def test_the_prefix_of_the_base_model_may_be_missing(
    family: str, stored: str, current: str
) -> None:
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(a_config(family)))
    assert parameters.current_name(stored) == current
