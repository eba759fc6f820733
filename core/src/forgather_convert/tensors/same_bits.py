"""Compares tensors by their bits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def have_same_bits(one: "torch.Tensor", other: "torch.Tensor", are_cached: bool = True) -> bool:
    """Whether two tensors have the same shape, dtype and bits: 0.0 is not -0.0.

    Args:
        one: A tensor.
        other: Another.
        are_cached: Whether they are small and were just read or computed, so that one thread
            compares them in less time than others take to begin and end.
    """
    import numpy as np
    import torch

    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    left, right = _numbers(one), _numbers(other)
    if are_cached and left.is_cpu and right.is_cpu:
        return np.array_equal(left.numpy(), right.numpy())
    return torch.equal(left, right)


def _numbers(tensor: "torch.Tensor") -> "torch.Tensor":
    """The same bytes as integers of the largest possible size, which compare fastest."""
    import torch

    flat = tensor.detach().contiguous().view(-1)
    if flat.nbytes % 8 == 0 and flat.storage_offset() * flat.dtype.itemsize % 8 == 0:
        return flat.view(torch.int64)
    return flat.view(torch.uint8)
