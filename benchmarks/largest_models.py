"""Writes DeepSeek-V3 as it is published: every name and shape, with holes instead of bytes."""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: How many files the published model has.
NUM_FILES = 163
#: The rows and columns that share a scale.
_BLOCK = 128
_SIZES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}

CONFIG: Mapping[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "routed_scaling_factor": 2.5,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "qk_nope_head_dim": 128,
    "n_group": 8,
    "topk_group": 4,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "norm_topk_prob": True,
    "hidden_act": "silu",
    "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
    },
    "tie_word_embeddings": False,
    "attention_bias": False,
    "torch_dtype": "bfloat16",
}


def write_deepseek_v3(directory: Path, num_layers: int = 61, is_quantized: bool = True) -> int:
    """Writes the model; its weights take no room on a file system that knows holes.

    Args:
        directory: Where; it is created.
        num_layers: How many layers it has.
        is_quantized: Whether the matrices are FP8 with scales by block, as published, or bfloat16.

    Returns:
        The number of tensors.
    """
    directory.mkdir(parents=True)
    config: dict[str, Any] = {**CONFIG, "num_hidden_layers": num_layers}
    if is_quantized:
        config["quantization_config"] = {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [_BLOCK, _BLOCK],
        }
    (directory / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    tensors = [*_stored(config, is_quantized)]
    weight_map = {}
    per_file = math.ceil(len(tensors) / NUM_FILES)
    count = math.ceil(len(tensors) / per_file)
    for number in range(count):
        name = f"model-{number + 1:05d}-of-{count:06d}.safetensors"
        part = tensors[number * per_file : (number + 1) * per_file]
        _write_file(directory / name, part)
        weight_map.update({tensor: name for tensor, _, _ in part})
    total = sum(_SIZES[dtype] * math.prod(shape) for _, dtype, shape in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2)
    (directory / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    return len(tensors)


def _write_file(path: Path, tensors: list[tuple[str, str, tuple[int, ...]]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, dtype, shape in tensors:
        end = position + _SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + position)


def _stored(
    config: Mapping[str, Any], is_quantized: bool
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for name, shape in _tensors(config):
        if name.endswith("e_score_correction_bias"):
            yield name, "F32", shape
        elif (is_quantized and name.endswith("_proj.weight")) or (
            "_with_mqa" in name and is_quantized
        ):
            yield name, "F8_E4M3", shape
            yield f"{name}_scale_inv", "F32", tuple(-(-size // _BLOCK) for size in shape)
        else:
            yield name, "BF16", shape


def _tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (vocab, hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield from _attention(f"{prefix}.self_attn", config)
        yield from _feedforward(f"{prefix}.mlp", config, layer)
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocab, hidden)


def _attention(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    queries, latent = config["q_lora_rank"], config["kv_lora_rank"]
    rope, plain, value = (
        config[name] for name in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    )
    yield f"{prefix}.q_a_proj.weight", (queries, hidden)
    yield f"{prefix}.q_a_layernorm.weight", (queries,)
    yield f"{prefix}.q_b_proj.weight", (heads * (plain + rope), queries)
    yield f"{prefix}.kv_a_proj_with_mqa.weight", (latent + rope, hidden)
    yield f"{prefix}.kv_a_layernorm.weight", (latent,)
    yield f"{prefix}.kv_b_proj.weight", (heads * (plain + value), latent)
    yield f"{prefix}.o_proj.weight", (hidden, heads * value)


def _feedforward(
    prefix: str, config: Mapping[str, Any], layer: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, size = config["hidden_size"], config["moe_intermediate_size"]
    if layer < config["first_k_dense_replace"]:
        yield from _gated(prefix, hidden, config["intermediate_size"])
        return
    for expert in range(config["n_routed_experts"]):
        yield from _gated(f"{prefix}.experts.{expert}", hidden, size)
    yield f"{prefix}.gate.weight", (config["n_routed_experts"], hidden)
    yield f"{prefix}.gate.e_score_correction_bias", (config["n_routed_experts"],)
    yield from _gated(f"{prefix}.shared_experts", hidden, config["n_shared_experts"] * size)


def _gated(prefix: str, hidden: int, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{prefix}.gate_proj.weight", (size, hidden)
    yield f"{prefix}.up_proj.weight", (size, hidden)
    yield f"{prefix}.down_proj.weight", (hidden, size)
