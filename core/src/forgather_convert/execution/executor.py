"""Writes the files of a plan, one tensor at a time."""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from forgather_convert.execution.byte_copy import copy_range
from forgather_convert.execution.file_copy import copy_file
from forgather_convert.planning.plan import ConversionPlan, ShardPlan, TensorPlan
from forgather_convert.tensors.byte_ranges import ByteRange, byte_ranges, merged
from forgather_convert.tensors.evaluation import Evaluator, bytes_of
from forgather_convert.tensors.expressions import describe
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


def execute(plan: ConversionPlan, directory: Path, progress: Progress) -> None:
    """Writes everything that a plan names into an existing, empty directory.

    The config comes last: a directory without one is not mistaken for a model.

    Args:
        plan: What to write.
        directory: Where.
        progress: Called with the number of bytes after each part; all together they are the
            plan's ``num_bytes``.
    """
    write_shards(plan.shards, directory, progress)
    write_other_files(plan, directory, progress)


def write_shards(shards: Iterable[ShardPlan], directory: Path, progress: Progress) -> None:
    """Writes weights files."""
    for shard in shards:
        if shard.header is None:
            _write_pytorch_shard(shard, directory / shard.file_name, progress)
        else:
            _write_safetensors_shard(shard, directory / shard.file_name, progress)


def write_other_files(plan: ConversionPlan, directory: Path, progress: Progress) -> None:
    """Writes the files without weights, the config last."""
    for copy in plan.copies:
        copy_file(copy.source, directory / copy.name)
        progress((directory / copy.name).stat().st_size)
    for write in plan.writes:
        (directory / write.name).write_bytes(write.content)
        progress(len(write.content))


def _write_safetensors_shard(shard: ShardPlan, path: Path, progress: Progress) -> None:
    with path.open("wb") as file:
        header = shard.header or b""
        file.write(header)
        progress(len(header))
        _write_tensors(shard.tensors, file, progress)


def _write_tensors(tensors: Iterable[TensorPlan], file: BinaryIO, progress: Progress) -> None:
    """Writes the bytes of tensors in order; what is contiguous in a file is copied in one go."""
    with ExitStack() as stack:
        evaluator = stack.enter_context(Evaluator())
        sources: dict[Path, BinaryIO] = {}

        def copy(ranges: list[ByteRange]) -> None:
            for part in merged(ranges):
                if part.file not in sources:
                    sources[part.file] = stack.enter_context(part.file.open("rb"))
                copy_range(sources[part.file], file, part.offset, part.size, progress)
            ranges.clear()

        pending: list[ByteRange] = []
        for tensor in tensors:
            ranges = byte_ranges(tensor.expression)
            logger.debug(
                "Writing %s: %s of %s",
                tensor.name,
                describe(tensor.expression) or "a copy",
                ", ".join(f"{ref.name} in {ref.file}" for ref in tensor.sources) or "nothing",
            )
            if ranges is not None:
                pending += ranges
                continue
            copy(pending)
            for piece in evaluator.pieces(tensor.expression):
                file.write(bytes_of(piece))
                progress(piece.nbytes)
        copy(pending)


def _write_pytorch_shard(shard: ShardPlan, path: Path, progress: Progress) -> None:
    """Writes a ``.bin`` file with ``torch.save``, from tensors that lie in files.

    Tensors that have to be computed are put into a scratch file first: ``torch.save``
    wants all tensors at once, and memory must not hold them.
    """
    import torch

    scratch_path = path.with_name(path.name + ".scratch")
    places: dict[str, TensorRef] = {}
    try:
        with scratch_path.open("wb") as scratch:
            for tensor in shard.tensors:
                ranges = byte_ranges(tensor.expression)
                if ranges is not None and len(ranges) == 1:
                    file, offset = ranges[0].file, ranges[0].offset
                else:
                    file, offset = scratch_path, scratch.tell()
                    _write_tensors((tensor,), scratch, lambda count: None)
                places[tensor.name] = TensorRef(
                    tensor.name, tensor.dtype, tensor.shape, file, offset
                )
        with TensorReader() as reader:
            state = {name: reader.read(place) for name, place in places.items()}
            torch.save(state, path)
            del state
        progress(shard.num_bytes)
    finally:
        scratch_path.unlink(missing_ok=True)
