"""Writes Llama models of any size, whose weights are holes in their file."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

_HIDDEN, _INTERMEDIATE, _VOCAB = 1024, 2816, 1000
#: The rows and columns that share a scale, where weights are quantized.
_BLOCK = 128
_SIZES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
#: The bytes of a layer's weights.
LAYER_BYTES = 2 * (4 * _HIDDEN * _HIDDEN + 3 * _HIDDEN * _INTERMEDIATE + 2 * _HIDDEN)


def write_sparse_llama(directory: Path, num_layers: int, is_quantized: bool = False) -> Path:
    """Writes a Hugging Face model of zeros; its weights take no room on the disk.

    Args:
        directory: Where; it is created.
        num_layers: How many layers it has.
        is_quantized: Whether its weights are FP8 in scaled blocks; else they are bfloat16.
    """
    directory.mkdir(parents=True)
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCAB,
        "hidden_size": _HIDDEN,
        "intermediate_size": _INTERMEDIATE,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    if is_quantized:
        config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [_BLOCK] * 2}
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, dtype, shape in _tensors(num_layers, is_quantized):
        end = position + _SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + position)
    return directory


def _tensors(num_layers: int, is_quantized: bool) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for name, shape in _shapes(num_layers):
        if is_quantized and name.endswith("_proj.weight"):
            yield name, "F8_E4M3", shape
            yield f"{name}_scale_inv", "F32", tuple(size // _BLOCK for size in shape)
        else:
            yield name, "BF16", shape


def _shapes(num_layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (_VOCAB, _HIDDEN)
    for layer in range(num_layers):
        prefix = f"model.layers.{layer}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}.{name}.weight", (_HIDDEN,)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{prefix}.self_attn.{name}.weight", (_HIDDEN, _HIDDEN)
        for name in ("gate_proj", "up_proj"):
            yield f"{prefix}.mlp.{name}.weight", (_INTERMEDIATE, _HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (_HIDDEN, _INTERMEDIATE)
    yield "model.norm.weight", (_HIDDEN,)
    yield "lm_head.weight", (_VOCAB, _HIDDEN)
