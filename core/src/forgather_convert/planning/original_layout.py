"""Restores the original division of a Hugging Face model into files."""

from collections.abc import Collection, Mapping

from forgather_convert.models.original_weights import OriginalWeights
from forgather_convert.planning.layout import Layout, rebuilt_index
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.planning.weights_content import WeightsContent, tensor_plans
from forgather_convert.source.files import WriteFile
from forgather_convert.weights.safetensors_file import (
    SafetensorsHeader,
    build_header,
    encode_header,
)


def original_layout(content: WeightsContent, original: OriginalWeights) -> Layout | None:
    """Divides tensors as they were divided; ``None`` if they are not the same tensors.

    A header is used as it was, to the byte, if all of its tensors are there, and none has changed
    in size or type.
    """
    available = {plan.name: plan for plan in tensor_plans({**content.unused, **content.tensors})}
    for second, first in content.tied.items():
        if first in available:
            available[second] = available[first].renamed(second)
    shards = []
    covered: set[str] = set()
    may_be_absent = {*original.unread_by_name}
    for name, header in original.headers.items():
        shard = _shard(name, header, available, content.other_names, may_be_absent)
        if shard is None:
            return None
        if shard.tensors:
            shards.append(shard)
        covered.update(
            content.other_names.get(tensor.name, tensor.name) for tensor in shard.tensors
        )
    tied = {**content.tied, **{first: second for second, first in content.tied.items()}}
    wanted = (*content.tensors, *content.unused)
    if any(name not in covered and tied.get(name) not in covered for name in wanted):
        return None
    return Layout(tuple(shards), _index(shards, original))


def _shard(
    file_name: str,
    header: SafetensorsHeader,
    available: Mapping[str, TensorPlan],
    other_names: Mapping[str, str],
    may_be_absent: Collection[str],
) -> ShardPlan | None:
    tensors = []
    is_unchanged = True
    for ref in header.tensors:
        tensor = available.get(other_names.get(ref.name, ref.name))
        if tensor is not None:
            tensor = tensor.renamed(ref.name)
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
        shard.header == encode_header(original.headers[shard.file_name].text) for shard in shards
    )
    if is_unchanged:
        return WriteFile(original.index_name, original.index_text.encode("utf-8"))
    return rebuilt_index(original.index_name, shards, original.index_text)
