"""References to tensors in files."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from forgather_convert.tensors.dtypes import tensor_bytes


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor in a file, which has not been read.

    Attributes:
        name: Its name in the checkpoint.
        dtype: Its element type, such as ``"bfloat16"``.
        shape: Its dimensions.
        file: The file it is in.
        offset: The offset of its first element in the file, in bytes.
        stride: Steps between elements, in elements, if they are not in row-major order without
            gaps.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    stride: tuple[int, ...] | None = None

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """The size of its elements, in bytes."""
        return tensor_bytes(self.dtype, self.shape)

    def renamed(self, name: str) -> "TensorRef":
        return replace(self, name=name)


@dataclass(frozen=True, slots=True)
class JoinedRef(TensorRef):
    """A tensor that is stored in parts, which are concatenated in a dimension.

    Its file and offset are those of the first part.

    Attributes:
        parts: The parts, each of which may itself consist of parts.
        dim: The dimension.
    """

    parts: tuple[TensorRef, ...] = ()
    dim: int = 0


@dataclass(frozen=True, slots=True)
class MemoryRef(TensorRef):
    """A tensor in memory, such as a parameter of a model that is being trained.

    Its file exists and has its header, but not its bytes; whoever evaluates it gives its value.
    """


def format_shape(shape: tuple[int, ...]) -> str:
    """``[4096, 11008]``, for messages."""
    return "[" + ", ".join(map(str, shape)) + "]"
