"""Restores the original division of a Hugging Face model into files."""

from collections.abc import Collection, Mapping

from forgather_convert.models.original_weights import OriginalWeights
from forgather_convert.planning.layout import Layout, rebuilt_index
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.weights.safetensors_file import (
    SafetensorsHeader,
    build_header,
    encode_header,
)


def original_layout(
    tensors: tuple[TensorPlan, ...],
    original: OriginalWeights,
    parameters: ModelParameters,
    unused: Mapping[str, Expression],
) -> Layout | None:
    """Divides tensors as in the original; ``None`` if they are not the same tensors.

    An original header is reused byte for byte if all of its tensors exist with the same size and
    dtype.

    Args:
        tensors: The model's tensors.
        original: The original division.
        parameters: The model's parameters.
        unused: The original's additional tensors, which the model does not use.
    """
    available = {name: TensorPlan(name, value) for name, value in unused.items()}
    available |= {tensor.name: tensor for tensor in tensors}
    for second, first in parameters.tied.items():
        if first in available:
            available[second] = available[first].renamed(second)
    shards = []
    covered: set[str] = set()
    for name, header in original.parsed_headers.items():
        current = {ref.name: parameters.current_name(ref.name) for ref in header.tensors}
        shard = _shard(name, header, available, current, {*original.unread_by_name})
        if shard is None:
            return None
        if shard.tensors:
            shards.append(shard)
        covered.update(current[tensor.name] for tensor in shard.tensors)
    tied = {**parameters.tied, **{first: second for second, first in parameters.tied.items()}}
    wanted = (*parameters.shapes, *unused)
    if any(name not in covered and tied.get(name) not in covered for name in wanted):
        return None
    return Layout(tuple(shards), _index(shards, original))


def _shard(
    file_name: str,
    header: SafetensorsHeader,
    available: Mapping[str, TensorPlan],
    current: Mapping[str, str],
    may_be_absent: Collection[str],
) -> ShardPlan | None:
    tensors = []
    is_unchanged = True
    for ref in header.tensors:
        if current[ref.name] in available:
            tensor = available[current[ref.name]].renamed(ref.name)
            tensors.append(tensor)
            is_unchanged &= (tensor.dtype, tensor.shape) == (ref.dtype, ref.shape)
        elif ref.name in may_be_absent:
            is_unchanged = False
        else:
            return None
    text = header.text
    if not is_unchanged:
        entries = ((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)
        text = build_header(entries, header.metadata)
    return ShardPlan(file_name, tuple(tensors), encode_header(text))


def _index(shards: list[ShardPlan], original: OriginalWeights) -> WriteFile | None:
    if original.index_name is None or original.index_text is None:
        return None
    is_unchanged = len(shards) == len(original.headers) and all(
        shard.header == encode_header(original.headers[shard.file_name]) for shard in shards
    )
    if is_unchanged:
        return WriteFile(original.index_name, original.index_text.encode("utf-8"))
    return rebuilt_index(original.index_name, shards, original.index_text)
