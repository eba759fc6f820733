"""A side's parameters are what save_pretrained writes, on transformers 4 and 5 alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from forgather_convert.sides.parameters import parameters_of

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}

#: A config, and a name that tells the form of its checkpoints.
FAMILIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "llama": (_GROUPED, "model.layers.1.mlp.gate_proj.weight"),
    "gpt2": ({"n_positions": 32}, "transformer.h.1.attn.c_attn.weight"),
    "gpt_neox": ({}, "embed_out.weight"),
    "phi": ({}, "lm_head.bias"),
    "qwen3_moe": (
        {
            **_GROUPED,
            "moe_intermediate_size": 16,
            "num_experts": 3,
            "num_experts_per_tok": 2,
            "mlp_only_layers": [0],
        },
        "model.layers.1.mlp.experts.2.gate_proj.weight",
    ),
    "mixtral": (
        {**_GROUPED, "num_local_experts": 3},
        "model.layers.1.block_sparse_moe.experts.2.w3.weight",
    ),
    "gpt_oss": (
        {**_GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2},
        "model.layers.1.mlp.experts.gate_up_proj_bias",
    ),
    "deepseek_v3": (
        {
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "moe_intermediate_size": 16,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
        "model.layers.1.mlp.experts.3.up_proj.weight",
    ),
}


def _config(family: str, **fields: Any) -> Any:
    return AutoConfig.for_model(family, **_SIZES, **FAMILIES[family][0], **fields)


def _written(directory: Path) -> dict[str, tuple[int, ...]]:
    state = load_file(directory / "model.safetensors")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("is_tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_and_shapes_are_those_of_the_file(
    family: str, is_tied: bool, tmp_path: Path
) -> None:
    config = _config(family, tie_word_embeddings=is_tied)
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
    config = _config(family, tie_word_embeddings=False)
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(config))
    assert FAMILIES[family][1] in parameters


def test_nothing_is_computed_for_the_names() -> None:
    """A model of a size that no memory holds."""
    config = _config("mixtral", tie_word_embeddings=False)
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
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(_config(family)))
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
    parameters = parameters_of(lambda: AutoModelForCausalLM.from_config(_config(family)))
    assert parameters.current_name(stored) == current
