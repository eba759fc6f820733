"""The plan of a conversion, as a value."""

from dataclasses import dataclass, replace
from pathlib import Path

from forgather_convert.planning.operations import Move, Operation
from forgather_convert.source.detection import Direction
from forgather_convert.source.files import CopyFile, WriteFile
from forgather_convert.tensors.dtypes import tensor_bytes
from forgather_convert.tensors.transforms import Transform
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.weights.tensor_ref import TensorRef


@dataclass(frozen=True)
class TensorPlan:
    """A tensor of the destination and where it comes from.

    Attributes:
        name: Its name in the destination.
        dtype: Its element type there.
        shape: Its dimensions there.
        operation: What is done to the value.
        inputs: The source's tensors, or ranges of them, that it is made of.
        transform: How the value is computed from the inputs; ``None`` if it is their bytes
            behind each other.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    operation: Operation
    inputs: tuple[TensorRef, ...]
    transform: Transform | None = None

    @property
    def is_copy(self) -> bool:
        """Whether it is bytes of files, as they are."""
        is_contiguous = all(ref.stride is None for ref in self.inputs)
        return isinstance(self.operation, Move) and self.transform is None and is_contiguous

    @property
    def num_bytes(self) -> int:
        """Its size in the destination, in bytes."""
        return tensor_bytes(self.dtype, self.shape)

    def renamed(self, name: str) -> "TensorPlan":
        return replace(self, name=name)


@dataclass(frozen=True)
class ShardPlan:
    """A weights file of the destination.

    Attributes:
        file_name: Its name.
        tensors: Its tensors, in the order of their bytes.
        header: The bytes in front of them in a safetensors file; ``None`` for ``.bin``.
    """

    file_name: str
    tensors: tuple[TensorPlan, ...]
    header: bytes | None

    @property
    def num_bytes(self) -> int:
        return len(self.header or b"") + sum(tensor.num_bytes for tensor in self.tensors)


@dataclass(frozen=True)
class ConversionPlan:
    """Everything that a conversion writes.

    Attributes:
        source: The source directory.
        destination: The directory that will appear.
        direction: Which way the conversion goes.
        model_type: The family.
        dtype: The data type in the destination's config.
        shards: The weights files.
        writes: The files whose content is made.
        copies: The files that are copied.
        left_out: Names in the source directory that have no place in the destination.
        vocabulary: What changes in the vocabulary; ``None`` if nothing does.
    """

    source: Path
    destination: Path
    direction: Direction
    model_type: str
    dtype: str
    shards: tuple[ShardPlan, ...]
    writes: tuple[WriteFile, ...]
    copies: tuple[CopyFile, ...]
    left_out: tuple[str, ...]
    vocabulary: VocabularyChange | None = None

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        return tuple(tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def num_bytes(self) -> int:
        """The size of everything that will be written, in bytes."""
        return (
            sum(shard.num_bytes for shard in self.shards)
            + sum(len(write.content) for write in self.writes)
            + sum(copy.source.stat().st_size for copy in self.copies)
        )
