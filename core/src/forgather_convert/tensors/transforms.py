"""What is computed where a tensor's bytes cannot simply be copied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Narrow:
    """A range of one dimension."""

    dim: int
    start: int
    length: int

    def apply(self, tensors: Sequence[Any]) -> Any:
        (tensor,) = tensors
        return tensor.narrow(self.dim, self.start, self.length)


@dataclass(frozen=True)
class Join:
    """Several tensors behind each other in one dimension."""

    dim: int

    def apply(self, tensors: Sequence[Any]) -> Any:
        import torch

        return torch.cat(list(tensors), dim=self.dim)


@dataclass(frozen=True)
class Swap:
    """Two dimensions exchanged."""

    dim0: int
    dim1: int

    def apply(self, tensors: Sequence[Any]) -> Any:
        (tensor,) = tensors
        return tensor.transpose(self.dim0, self.dim1)


@dataclass(frozen=True)
class Interleave:
    """Rows of each head in another order, for the two layouts of rotary embeddings.

    The halves layout, ``[heads, 2, head_dim / 2]``, has first the real and then the
    imaginary parts; the interleaved one, ``[heads, head_dim / 2, 2]``, has them in pairs.
    """

    num_heads: int
    to_pairs: bool

    def apply(self, tensors: Sequence[Any]) -> Any:
        (tensor,) = tensors
        rows, rest = tensor.shape[0], tensor.shape[1:]
        half = rows // self.num_heads // 2
        inner = (2, half) if self.to_pairs else (half, 2)
        return tensor.reshape(self.num_heads, *inner, *rest).transpose(1, 2).reshape(rows, *rest)


Transform = Narrow | Join | Swap | Interleave
