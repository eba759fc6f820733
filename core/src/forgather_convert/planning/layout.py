"""Divides tensors among files, and makes the files' headers and index."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgather_convert.files.json_file import parse_json_object
from forgather_convert.models.carried_tensors import carried_file_name
from forgather_convert.options import DEFAULT_MAX_SHARD_SIZE
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.source.files import WriteFile
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.file_names import INDEX_FILE, PYTORCH, SAFETENSORS, SINGLE_FILE
from forgather_convert.weights.safetensors_file import build_header, encode_header

#: transformers 4 does not load a file without this metadata.
_METADATA = {"format": "pt"}


@dataclass(frozen=True)
class Layout:
    """The weights files and, if there are several, their index."""

    shards: tuple[ShardPlan, ...]
    index: WriteFile | None


def mirrors_source(
    tensors: Iterable[TensorPlan], checkpoint: Checkpoint, weights_format: str
) -> bool:
    """Whether the source's division can be kept: same format, same dtypes."""
    same_format = checkpoint.files.format == weights_format == SAFETENSORS
    files = {*checkpoint.files.shards}
    return same_format and all(
        tensor.sources
        and all(ref.dtype == tensor.dtype and ref.file in files for ref in tensor.sources)
        for tensor in tensors
    )


def mirror_layout(
    tensors: Sequence[TensorPlan],
    checkpoint: Checkpoint,
    second_names: Mapping[str, str] | None = None,
) -> Layout:
    """Keeps the source's files and the order of the bytes in them.

    The bytes begin at the same offset modulo the block size, so that a file system that can share
    blocks has nothing to copy.
    """
    by_file: dict[Path, list[tuple[int, TensorPlan]]] = {
        shard.path: [] for shard in checkpoint.shards
    }
    for tensor in tensors:
        first = tensor.sources[0]
        by_file[first.file].append((first.offset, tensor))
    groups, starts = [], []
    for placed in filter(None, by_file.values()):
        placed.sort(key=lambda each: (each[0], each[1].num_bytes))
        groups.append([tensor for _, tensor in placed])
        starts.append(placed[0][0])
    if len(groups) > 1 and second_names:
        # At the end, so that the others keep their places.
        groups = [[*group, *_seconds(group, second_names)] for group in groups]
    return _build(groups, SAFETENSORS, starts, second_names or {})


def packed_layout(
    tensors: Sequence[TensorPlan],
    weights_format: str,
    max_shard_size: int | None,
    second_names: Mapping[str, str] | None = None,
    has_index: bool = False,
) -> Layout:
    """Fills files up to a size in the given order.

    A larger tensor gets a file of its own.

    Args:
        tensors: The tensors.
        weights_format: The format of the files.
        max_shard_size: The size in bytes; ``None`` for the default.
        second_names: The first names of tied tensors, by their second names, if several files
            together must have every name of the model. A ``.bin`` file has such a tensor's bytes
            once. Safetensors files have them twice, since two tensors cannot share bytes; a single
            file, which loaders read as a whole, has only the first name.
        has_index: Whether even a single ``.bin`` file gets an index.
    """
    limit = max_shard_size or DEFAULT_MAX_SHARD_SIZE
    seconds = second_names or {}
    groups = _packed(tensors, limit)
    if weights_format == SAFETENSORS and len(groups) > 1 and seconds:
        tensors = [each for tensor in tensors for each in (tensor, *_seconds([tensor], seconds))]
        groups = _packed(tensors, limit)
    return _build(groups, weights_format, [None] * len(groups), seconds, has_index)


def _seconds(tensors: Iterable[TensorPlan], names: Mapping[str, str]) -> list[TensorPlan]:
    """The given tensors that have a second name, by that name."""
    by_name = {tensor.name: tensor for tensor in tensors}
    return [by_name[first].renamed(second) for second, first in names.items() if first in by_name]


def _packed(tensors: Iterable[TensorPlan], limit: int) -> list[list[TensorPlan]]:
    groups: list[list[TensorPlan]] = []
    size = 0
    for tensor in tensors:
        if not groups or size + tensor.num_bytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.num_bytes
    return groups


def carried_layout(tensors: Sequence[TensorPlan]) -> tuple[ShardPlan, ...]:
    """Files for tensors that the model does not use, which no loader mistakes for its weights."""
    shards = packed_layout(tensors, SAFETENSORS, None).shards
    return tuple(
        replace(shard, file_name=carried_file_name(number, len(shards)))
        for number, shard in enumerate(shards, start=1)
    )


def _build(
    groups: list[list[TensorPlan]],
    weights_format: str,
    starts: Sequence[int | None],
    second_names: Mapping[str, str],
    has_index: bool = False,
) -> Layout:
    is_indexed = len(groups) > 1 or (has_index and weights_format == PYTORCH)
    shards = []
    for number, (group, start) in enumerate(zip(groups, starts, strict=True), start=1):
        header = None
        shared: dict[str, str] = {}
        if weights_format == SAFETENSORS:
            entries = ((tensor.name, tensor.dtype, tensor.shape) for tensor in group)
            header = encode_header(build_header(entries, _METADATA, align_to=start))
        else:
            names = {tensor.name for tensor in group}
            shared = {second: first for second, first in second_names.items() if first in names}
        name = SINGLE_FILE[weights_format]
        if is_indexed:
            name = _shard_name(weights_format, number, len(groups))
        shards.append(ShardPlan(name, tuple(group), header, shared))
    index = None
    if is_indexed:
        # The key and its format are those of the Forgather framework.
        sharing = [[second, first] for second, first in second_names.items()]
        metadata = {"metadata": {"param_sharing": sharing}} if sharing else {}
        index = WriteFile(INDEX_FILE[weights_format], _index_text(shards, metadata).encode("utf-8"))
    return Layout(tuple(shards), index)


def _shard_name(weights_format: str, number: int, count: int) -> str:
    stem, _, suffix = SINGLE_FILE[weights_format].rpartition(".")
    return f"{stem}-{number:05d}-of-{count:05d}.{suffix}"


def _index_text(shards: Iterable[ShardPlan], original: Mapping[str, Any]) -> str:
    shards = tuple(shards)
    total = sum(tensor.num_bytes for shard in shards for tensor in shard.tensors)
    weight_map = {
        name: shard.file_name
        for shard in shards
        for name in (*(tensor.name for tensor in shard.tensors), *shard.shared)
    }
    metadata = original.get("metadata")
    content = {
        **original,
        "metadata": {**(metadata if isinstance(metadata, dict) else {}), "total_size": total},
        "weight_map": dict(sorted(weight_map.items())),
    }
    return json.dumps(content, indent=2) + "\n"


def rebuilt_index(name: str, shards: Iterable[ShardPlan], original: str) -> WriteFile:
    """An index like a given one, for tensors whose sizes have changed."""
    content = parse_json_object(original, f"the original {name}")
    return WriteFile(name, _index_text(shards, content).encode("utf-8"))
