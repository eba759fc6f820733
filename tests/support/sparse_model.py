"""Writes Llama models of any size, whose weights are holes in their file."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

_HIDDEN, _INTERMEDIATE, _VOCAB = 1024, 2816, 1000
#: The bytes of a layer's weights.
LAYER_BYTES = 2 * (4 * _HIDDEN * _HIDDEN + 3 * _HIDDEN * _INTERMEDIATE + 2 * _HIDDEN)


def write_sparse_llama(directory: Path, num_layers: int) -> Path:
    """Writes a bfloat16 Hugging Face model of zeros; its weights take no room on the disk."""
    directory.mkdir(parents=True)
    config = {
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
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in _shapes(num_layers):
        end = position + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + position)
    return directory


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
