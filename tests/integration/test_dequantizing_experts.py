"""Quantized experts that are stored one by one, of which transformers 5 makes one parameter."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from forgather_convert import ConvertOptions
from forgather_convert.models.dequantized_loading import load_dequantized
from forgather_convert.models.loading import StoredModel
from forgather_convert.models.merged_parameters import materializer
from forgather_convert.models.parameters import parameters_of
from forgather_convert.source.detection import detect
from forgather_convert.tensors.evaluation import Evaluator
from support.models import write_weights
from support.quantized_models import quantized

NUM_EXPERTS = 3
FIELDS = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_experts": NUM_EXPERTS,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}
BLOCK = (16, 16)
EXPERTS = "model.layers.0.mlp.experts"


def write_model(directory: Path, expert_size: int) -> Path:
    """Writes a model as Qwen3-30B-A3B-FP8 is published."""
    torch.manual_seed(0)
    directory.mkdir()
    config = {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "dtype": "bfloat16",
        "moe_intermediate_size": expert_size,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [*BLOCK]},
        **FIELDS,
    }
    (directory / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (96, 64), "lm_head.weight": (96, 64)}
    attention = {"q_proj": (64, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 64)}
    matrices = {f"model.layers.0.self_attn.{name}": shape for name, shape in attention.items()}
    for expert in range(NUM_EXPERTS):
        matrices[f"{EXPERTS}.{expert}.gate_proj"] = (expert_size, 64)
        matrices[f"{EXPERTS}.{expert}.up_proj"] = (expert_size, 64)
        matrices[f"{EXPERTS}.{expert}.down_proj"] = (64, expert_size)
    shapes["model.layers.0.mlp.gate.weight"] = (NUM_EXPERTS, 64)
    state = {name: torch.randn(shape).to(torch.bfloat16) for name, shape in shapes.items()}
    norms = {"input_layernorm": 64, "post_attention_layernorm": 64, "self_attn.q_norm": 16}
    for name, size in {**norms, "self_attn.k_norm": 16}.items():
        state[f"model.layers.0.{name}.weight"] = torch.rand(size).to(torch.bfloat16)
    state["model.norm.weight"] = torch.rand(64).to(torch.bfloat16)
    for name, shape in matrices.items():
        numbers, scales = quantized(torch.randn(shape), BLOCK)
        state.update({f"{name}.weight": numbers, f"{name}.weight_scale_inv": scales})
    write_weights(directory, state)
    return directory


@pytest.mark.parametrize("expert_size", [32, 24], ids=["whole blocks", "cut blocks"])
def test_the_check_loads_the_dequantized_experts(tmp_path: Path, expert_size: int) -> None:
    source = write_model(tmp_path / "hf", expert_size)
    detection = detect(source, ConvertOptions(dequantize=True))
    assert detection.dequantizer is not None
    tensors = detection.checkpoint.tensors
    state = detection.dequantizer.tensors(tensors, detection.dtype)
    config = transformers.Qwen3MoeConfig.from_dict(dict(detection.config))
    stored_model = StoredModel(
        transformers.Qwen3MoeForCausalLM,
        config,
        source,
        state,
        lambda: parameters_of(lambda: transformers.Qwen3MoeForCausalLM(config)),
        stored_tensors=tensors,
    )
    model = load_dequantized(stored_model, detection.dequantizer)
    with Evaluator() as evaluator:
        expected = {name: evaluator.value(value) for name, value in state.items()}
    for parts, merged in (
        (("gate_proj", "up_proj"), "gate_up_proj"),
        (("down_proj",), "down_proj"),
    ):
        experts = [
            torch.cat([expected[f"{EXPERTS}.{expert}.{part}.weight"] for part in parts])
            for expert in range(NUM_EXPERTS)
        ]
        expected[f"{EXPERTS}.{merged}"] = torch.stack(experts)
    num_made = 0
    for name, parameter in model.named_parameters():
        make = materializer(parameter)
        assert torch.equal(parameter if make is None else make(), expected[name]), name
        num_made += make is not None
    # The attention's four matrices, and the experts, merged or not: none is held in memory.
    is_merged = f"{EXPERTS}.gate_up_proj" in dict(model.named_parameters())
    assert num_made >= 4 + (2 if is_merged else 3 * NUM_EXPERTS)
