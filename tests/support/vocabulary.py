"""Small models with real tokenizers, for tests that extend vocabularies."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from forgather_convert import ConvertOptions, convert
from support.models import write_hf_model
from support.variants import variant

EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
HF_EMBEDDING = "model.embed_tokens.weight"
TEXTS = [
    "The old bridge crosses the river.",
    "  naïve 東京\n\ttabs 0123",
    "def convert(x): return [x]",
]

#: Writes a tokenizer into a directory and gives the number of its tokens.
WriteTokenizer = Callable[[Path], int]


def write_model(
    directory: Path,
    write_tokenizer: WriteTokenizer,
    name: str = "llama-default",
    spare: int = 0,
    dtype: str = "float32",
    shards: int = 1,
    **fields: Any,
) -> Path:
    """Writes a model whose vocabulary is the tokenizer's, with some spare rows."""
    scratch = directory.with_name(directory.name + "-tokenizer")
    scratch.mkdir(parents=True)
    size = write_tokenizer(scratch)
    base = variant(name)
    small = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    fields = {"vocab_size": size + spare, "pad_token_id": None, **small, **fields}
    model = dataclasses.replace(base, fields={**base.fields, **fields})
    write_hf_model(directory, model, dtype=dtype, shards=shards)
    for path in scratch.iterdir():
        path.rename(directory / path.name)
    return directory


def add_tokens(source: Path, destination: Path, yaml: str, **options: Any) -> Path:
    """Converts with a token file of the given content."""
    path = destination.with_name(destination.name + ".yaml")
    path.write_text(yaml)
    convert(source, destination, ConvertOptions(token_file=path, **options))
    return destination


def load_tokenizer(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory, trust_remote_code=True, local_files_only=True)


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def edit_json(path: Path, remove: tuple[str, ...] = (), /, **fields: Any) -> None:
    """Sets fields of a JSON file, and removes others."""
    content = {**read_json(path), **fields}
    path.write_text(json.dumps({key: content[key] for key in content if key not in remove}))


def config(directory: Path) -> dict[str, Any]:
    return read_json(directory / "config.json")


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a directory, however they are divided into files."""
    return {
        name: tensor
        for path in sorted(directory.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
