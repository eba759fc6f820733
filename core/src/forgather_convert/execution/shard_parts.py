"""Divides a weights file into parts that several threads can write at the same time."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from forgather_convert.execution.byte_copy import RangeCopy, write_at
from forgather_convert.execution.pytorch_skeleton import write_pytorch_skeleton
from forgather_convert.execution.zip_checksums import write_checksums
from forgather_convert.files.file_errors import with_filename
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.progress import Advance
from forgather_convert.tensors.byte_ranges import ByteRange, byte_ranges, merged
from forgather_convert.tensors.evaluation import Evaluator, bytes_of
from forgather_convert.tensors.expressions import describe
from forgather_convert.tensors.tensor_ref import MemoryRef

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CopiedPart:
    """A part of a weights file that is copied from the source's files.

    Attributes:
        position: Its offset in the weights file.
        ranges: The ranges of the source's files that it consists of, in order.
    """

    position: int
    ranges: tuple[ByteRange, ...]

    @property
    def num_bytes(self) -> int:
        return sum(part.size for part in self.ranges)

    def write(self, file: BinaryIO, progress: Advance) -> None:
        """Copies the bytes into the open weights file.

        Raises:
            SourceError: The source ends before it should.
        """
        position = self.position
        with ExitStack() as stack:
            sources: dict[Path, BinaryIO] = {}
            for part in self.ranges:
                if part.file not in sources:
                    stack.enter_context(with_filename(part.file))
                    sources[part.file] = stack.enter_context(part.file.open("rb"))
                RangeCopy(sources[part.file], part.offset, file, position, part.size).run(progress)
                position += part.size


@dataclass(frozen=True)
class ComputedPart:
    """A part of a weights file that is one computed tensor.

    Attributes:
        position: Its offset in the weights file.
        tensor: The tensor.
    """

    position: int
    tensor: TensorPlan

    @property
    def num_bytes(self) -> int:
        return self.tensor.num_bytes

    def write(
        self,
        file: BinaryIO,
        progress: Advance,
        in_memory: "Mapping[MemoryRef, torch.Tensor] | None" = None,
    ) -> None:
        """Computes the tensor piece by piece and writes it to the open weights file.

        Raises:
            SourceError: The source ends before it should.
        """
        position = self.position
        with Evaluator(in_memory) as evaluator:
            for piece in evaluator.pieces(self.tensor.expression):
                write_at(file, bytes_of(piece.cpu()), position)
                position += piece.nbytes
                progress(piece.nbytes)
            if evaluator.num_overflows:
                logger.warning(
                    "%d values of %s are too large for %s and became infinite",
                    evaluator.num_overflows,
                    self.tensor.name,
                    self.tensor.dtype,
                )


ShardPart = CopiedPart | ComputedPart


def create_shard(shard: ShardPlan, path: Path) -> tuple[ShardPart, ...]:
    """Creates a weights file without its tensors' bytes; returns the parts to be written.

    Raises:
        OSError: It cannot be created.
    """
    if shard.header is None:
        places = write_pytorch_skeleton(shard, path)
        return tuple(_parts(shard.tensors, (places[tensor.name] for tensor in shard.tensors)))
    with with_filename(path), path.open("xb", buffering=0) as file:
        write_at(file, shard.header, 0)
    positions = accumulate(
        (tensor.num_bytes for tensor in shard.tensors), initial=len(shard.header)
    )
    return tuple(_parts(shard.tensors, positions))


def complete_shard(shard: ShardPlan, path: Path, progress: Advance) -> None:
    """Completes a weights file whose parts are all written, with what depends on their bytes.

    Args:
        shard: The plan of the file.
        path: The path of the file.
        progress: Called with 0 from time to time, by several threads; may raise to stop.

    Raises:
        OSError: The file cannot be read or written.
    """
    if shard.header is None:
        write_checksums(path, lambda: progress(0))


def _parts(tensors: Iterable[TensorPlan], positions: Iterable[int]) -> Iterator[ShardPart]:
    """Combines contiguous copied tensors into one part; a computed tensor is a part by itself."""
    start = end = 0
    copied: list[ByteRange] = []
    for tensor, position in zip(tensors, positions, strict=False):
        ranges = byte_ranges(tensor.expression)
        logger.debug(
            "Writing %s: %s of %s",
            tensor.name,
            describe(tensor.expression) or "a copy",
            ", ".join(f"{ref.name} in {ref.file}" for ref in tensor.sources) or "nothing",
        )
        if copied and (ranges is None or position != end):
            yield CopiedPart(start, merged(copied))
            copied = []
        if ranges is None:
            yield ComputedPart(position, tensor)
            continue
        if not copied:
            start = position
        copied += ranges
        end = position + tensor.num_bytes
    if copied:
        yield CopiedPart(start, merged(copied))
