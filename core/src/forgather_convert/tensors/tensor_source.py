"""What a destination tensor is made of."""

from dataclasses import dataclass, replace

from forgather_convert.tensors.transforms import Transform
from forgather_convert.weights.tensor_ref import TensorRef


@dataclass(frozen=True)
class TensorSource:
    """Source tensors, or ranges of them, and what is computed from them.

    Attributes:
        inputs: Where the bytes are.
        shape: The dimensions of the outcome.
        dtype: The element type of the inputs.
        transform: What is computed; ``None`` if the inputs' bytes behind each other are the
            outcome's, in row-major order.
    """

    inputs: tuple[TensorRef, ...]
    shape: tuple[int, ...]
    dtype: str
    transform: Transform | None = None

    @classmethod
    def of(cls, ref: TensorRef) -> "TensorSource":
        """A tensor as it is."""
        return cls((ref,), ref.shape, ref.dtype)

    @property
    def is_copy(self) -> bool:
        """Whether it is bytes of files, in the order of the files."""
        return self.transform is None and all(ref.stride is None for ref in self.inputs)

    def rows(self, start: int, count: int) -> "TensorSource":
        """A range of the first dimension of a single tensor, as a range of bytes."""
        (ref,) = self.inputs
        size = ref.num_bytes // ref.shape[0]
        part = replace(ref, shape=(count, *ref.shape[1:]), offset=ref.offset + start * size)
        return TensorSource((part,), part.shape, self.dtype)
