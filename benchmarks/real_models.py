"""Writes models of the sizes that people have, with weights that cost nothing to make."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

#: How many different weights there are; they are repeated.
_NUM_WEIGHTS = 1 << 23
_NUM_SHARD_BYTES = 5_000_000_000


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width of the feed-forward.
        layers: How many layers.
        heads: Query heads.
        groups: Key and value heads.
        is_tied: Whether the head is the embedding.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    groups: int
    is_tied: bool
    vocabulary: int = 128256


#: Llama 2 13B.
LARGE = Shape(5120, 13824, 40, 40, 40, is_tied=False, vocabulary=32000)
#: Llama 3.2 1B and 3B, Llama 3.1 8B.
SHAPES = {
    "1B": Shape(2048, 8192, 16, 32, 8, is_tied=True),
    "3B": Shape(3072, 8192, 28, 24, 8, is_tied=True),
    "8B": Shape(4096, 14336, 32, 32, 8, is_tied=False),
}


def num_bytes(shape: Shape) -> int:
    """How large the weights are, in bfloat16."""
    return 2 * sum(math.prod(size) for _, size in _tensors(shape))


def write_model(directory: Path, shape: Shape, *, is_sparse: bool = False) -> None:
    """Writes a Hugging Face directory, in files of 5 GB as transformers divides them.

    Args:
        directory: Where; it is created.
        shape: The model.
        is_sparse: Whether it is one file of any size, whose weights are holes that take no room.
    """
    directory.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.groups,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "tie_word_embeddings": shape.is_tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "dtype": "bfloat16",
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = torch.randn(_NUM_WEIGHTS, generator=torch.Generator().manual_seed(0)) * 0.02
    block = memoryview(weights.bfloat16().view(torch.uint8).numpy())

    shards = [dict(_tensors(shape))] if is_sparse else [*_shards(shape)]
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = "model.safetensors"
        if len(shards) > 1:
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(directory / name, shard, None if is_sparse else block)
        weight_map.update(dict.fromkeys(shard, name))
    if len(shards) > 1:
        index = {"metadata": {"total_size": num_bytes(shape)}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _write_shard(path: Path, shard: dict[str, tuple[int, ...]], block: memoryview | None) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in shard.items():
        start, end = end, end + 2 * math.prod(size)
        header[name] = {"dtype": "BF16", "shape": size, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if block is None:
            file.truncate(file.tell() + end)
            return
        while end:
            end -= file.write(block[: min(end, len(block))])


def _shards(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    filled = 0
    for name, size in _tensors(shape):
        if shard and filled + 2 * math.prod(size) > _NUM_SHARD_BYTES:
            yield shard
            shard, filled = {}, 0
        shard[name] = size
        filled += 2 * math.prod(size)
    yield shard


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, wide = shape.hidden, shape.intermediate
    grouped = hidden // shape.heads * shape.groups
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, wide)
        yield f"{prefix}.mlp.gate_proj.weight", (wide, hidden)
        yield f"{prefix}.mlp.up_proj.weight", (wide, hidden)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
        yield f"{prefix}.self_attn.k_proj.weight", (grouped, hidden)
        yield f"{prefix}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{prefix}.self_attn.q_proj.weight", (hidden, hidden)
        yield f"{prefix}.self_attn.v_proj.weight", (grouped, hidden)
    yield "model.norm.weight", (hidden,)
    if not shape.is_tied:
        yield "lm_head.weight", (shape.vocabulary, hidden)
