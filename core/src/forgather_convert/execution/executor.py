"""Writes the files of a plan, one tensor at a time."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from forgather_convert.execution.byte_copy import copy_range
from forgather_convert.execution.file_copy import copy_file
from forgather_convert.execution.vocabulary_rows import resized_matrix
from forgather_convert.planning.operations import Literal, ResizeRows
from forgather_convert.planning.plan import ConversionPlan, ShardPlan, TensorPlan
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.tensor_ref import TensorRef

#: How many bytes of a tensor are converted at once.
_CHUNK = 16 << 20

Progress = Callable[[int], None]


def execute(plan: ConversionPlan, directory: Path, progress: Progress) -> None:
    """Writes everything that a plan names into an existing, empty directory.

    The config comes last: a directory without one is not mistaken for a model.

    Args:
        plan: What to write.
        directory: Where.
        progress: Told of every number of bytes of weights that is done.
    """
    for shard in plan.shards:
        if shard.header is None:
            _write_pytorch_shard(shard, directory / shard.file_name, progress)
        else:
            _write_safetensors_shard(shard, directory / shard.file_name, progress)
    for copy in plan.copies:
        copy_file(copy.source, directory / copy.name)
    for write in plan.writes:
        (directory / write.name).write_bytes(write.content)


def _write_safetensors_shard(shard: ShardPlan, path: Path, progress: Progress) -> None:
    with path.open("wb") as file:
        file.write(shard.header or b"")
        _write_tensors(shard.tensors, file, progress)


def _write_tensors(tensors: Iterable[TensorPlan], file: BinaryIO, progress: Progress) -> None:
    """Writes the bytes of tensors behind each other; neighbours are copied in one go."""
    with ExitStack() as stack:
        sources: dict[Path, BinaryIO] = {}
        reader = stack.enter_context(TensorReader())

        def source_file(path: Path) -> BinaryIO:
            if path not in sources:
                sources[path] = stack.enter_context(path.open("rb"))
            return sources[path]

        pending: tuple[Path, int, int] | None = None
        for tensor in tensors:
            if not tensor.is_copy:
                _flush(pending, source_file, file, progress)
                pending = None
                _compute(tensor, reader, file, progress)
                continue
            for ref in tensor.inputs:
                if pending and pending[0] == ref.file and sum(pending[1:]) == ref.offset:
                    pending = (pending[0], pending[1], pending[2] + ref.num_bytes)
                else:
                    _flush(pending, source_file, file, progress)
                    pending = (ref.file, ref.offset, ref.num_bytes)
        _flush(pending, source_file, file, progress)


def _flush(
    pending: tuple[Path, int, int] | None,
    source_file: Callable[[Path], BinaryIO],
    destination: BinaryIO,
    progress: Progress,
) -> None:
    if pending is not None:
        path, offset, size = pending
        copy_range(source_file(path), destination, offset, size, progress)


def _compute(tensor: TensorPlan, reader: TensorReader, file: BinaryIO, progress: Progress) -> None:
    operation = tensor.operation
    if isinstance(operation, Literal):
        file.write(operation.data)
        progress(len(operation.data))
        return
    dtype = to_torch(tensor.dtype)
    for value in _values(tensor, reader):
        if isinstance(operation, ResizeRows):
            value = resized_matrix(
                value, operation.size, operation.num_tokens, operation.rows, dtype
            )
        _write_value(value, dtype, file, progress)


def _values(tensor: TensorPlan, reader: TensorReader) -> Iterator[Any]:
    """What a tensor is before its operation, in parts where they only follow each other."""
    parts = [reader.read(ref) for ref in tensor.inputs]
    if tensor.transform is not None:
        yield tensor.transform.apply(parts)
    else:
        yield from parts


def _write_value(value: Any, dtype: Any, file: BinaryIO, progress: Progress) -> None:
    """Writes a tensor's elements in another type, a few megabytes at a time."""
    # Row by row where the order of the elements is not that of the bytes.
    rows = value.reshape(-1) if value.is_contiguous() else value
    row_bytes = max(1, rows[:1].numel()) * dtype.itemsize
    step = max(1, _CHUNK // row_bytes)
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        file.write(_bytes_of(part.to(dtype).contiguous()))
        progress(part.numel() * dtype.itemsize)


def _bytes_of(tensor: Any) -> memoryview:
    import torch

    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def _write_pytorch_shard(shard: ShardPlan, path: Path, progress: Progress) -> None:
    """Writes a ``.bin`` file with ``torch.save``, from tensors that lie in files.

    Tensors that have to be computed are put into a scratch file first: ``torch.save``
    wants all tensors at once, and memory must not hold them.
    """
    import torch

    scratch_path = path.with_name(path.name + ".scratch")
    computed = [tensor for tensor in shard.tensors if not tensor.is_copy or len(tensor.inputs) != 1]
    places: dict[str, TensorRef] = {}
    try:
        with scratch_path.open("wb") as scratch:
            for tensor in computed:
                place = TensorRef(
                    tensor.name, tensor.dtype, tensor.shape, scratch_path, scratch.tell()
                )
                places[tensor.name] = place
                _write_tensors((tensor,), scratch, lambda count: None)
        with TensorReader() as reader:
            state = {
                tensor.name: reader.read(places.get(tensor.name) or tensor.inputs[0]).reshape(
                    tensor.shape
                )
                for tensor in shard.tensors
            }
            torch.save(state, path)
            del state
        progress(shard.num_bytes)
    finally:
        scratch_path.unlink(missing_ok=True)
