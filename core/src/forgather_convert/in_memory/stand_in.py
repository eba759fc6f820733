"""A directory that stands for a model in memory: what ``save_pretrained`` writes except weights.

Everything that plans and checks a conversion reads a directory, and so needs to know nothing of
models in memory. The weights files have their headers only; their tensors are references to
memory.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgather_convert.in_memory.live_model import LiveModel
from forgather_convert.models.loading import quiet_transformers
from forgather_convert.models.saved_state import saved_state
from forgather_convert.tensors.dtypes import from_torch
from forgather_convert.tensors.tensor_ref import MemoryRef
from forgather_convert.weights.checkpoint import Checkpoint, Shard, WeightsFiles
from forgather_convert.weights.file_names import SAFETENSORS
from forgather_convert.weights.safetensors_file import (
    build_header,
    encode_header,
    parse_header_text,
)

_PATTERN = "model{suffix}.safetensors"
_METADATA = {"format": "pt"}
#: The order of dtypes in which safetensors writes tensors.
_ORDER = ("float64", "float32", "bfloat16", "float16")


def write_stand_in(model: LiveModel, directory: Path, tokenizer: Any = None) -> Checkpoint:
    """Writes what ``save_pretrained`` writes into an existing directory, except the weights.

    Returns:
        The weights.
    """
    with quiet_transformers():
        model.module.save_pretrained(directory, state_dict={})
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
    shards = tuple(
        _header_only(directory / name, tensors) for name, tensors in _divided(model).items()
    )
    files = WeightsFiles(directory, SAFETENSORS, tuple(shard.path for shard in shards), None)
    return Checkpoint(files, shards)


def _divided(model: LiveModel) -> Mapping[str, Mapping[str, Any]]:
    """The tensors, without values, in the files that ``save_pretrained`` divides them into."""
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards

    names = [name for name in saved_state(model.module).shapes if name in model.tensors]
    state = {
        name: torch.empty(model.tensors[name].shape, dtype=model.tensors[name].dtype, device="meta")
        for name in names
    }
    parameters = inspect.signature(model.module.save_pretrained).parameters
    split = split_torch_state_dict_into_shards(
        state,
        filename_pattern=_PATTERN,
        max_shard_size=parameters["max_shard_size"].default,
    )
    return {
        file_name: {name: state[name] for name in sorted(names)}
        for file_name, names in split.filename_to_tensors.items()
    }


def _header_only(path: Path, tensors: Mapping[str, Any]) -> Shard:
    """Writes a weights file that ends after its header."""
    entries = [
        (name, from_torch(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()
    ]
    entries.sort(key=lambda entry: _ORDER.index(entry[1]) if entry[1] in _ORDER else len(_ORDER))
    text = build_header(entries, _METADATA)
    path.write_bytes(encode_header(text))
    refs = tuple(
        MemoryRef(ref.name, ref.dtype, ref.shape, path, ref.offset)
        for ref in parse_header_text(text, str(path)).tensors
    )
    return Shard(path, refs, None)
