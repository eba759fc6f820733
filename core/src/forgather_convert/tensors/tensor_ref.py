"""The place of a tensor's bytes in a file."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from forgather_convert.tensors.dtypes import tensor_bytes


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor that is not read yet.

    Attributes:
        name: Its name in the checkpoint.
        dtype: Its element type, as ``"bfloat16"``.
        shape: Its dimensions.
        file: The file it is in.
        offset: Where its first element lies in the file, in bytes.
        stride: Steps between elements, in elements, where they are not in row-major
            order without gaps.
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
    """A tensor that does not lie in one place, but in parts, one after the other in a dimension.

    Its file and its offset are those of the first part.

    Attributes:
        parts: The parts; each may itself be joined from others.
        dim: The dimension.
    """

    parts: tuple[TensorRef, ...] = ()
    dim: int = 0


def format_shape(shape: tuple[int, ...]) -> str:
    """``[4096, 11008]``, for messages."""
    return "[" + ", ".join(map(str, shape)) + "]"
