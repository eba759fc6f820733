"""Compares tensors by their bits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def have_same_bits(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    """Whether two tensors have the same shape, dtype and bits: 0.0 is not -0.0."""
    import torch

    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return torch.equal(_numbers(one), _numbers(other))


def _numbers(tensor: "torch.Tensor") -> "torch.Tensor":
    """The same bytes as integers of the largest possible size, which compare fastest."""
    import torch

    flat = tensor.contiguous().view(-1)
    if flat.nbytes % 8 == 0 and flat.storage_offset() * flat.dtype.itemsize % 8 == 0:
        return flat.view(torch.int64)
    return flat.view(torch.uint8)
