"""Converts tensors between floating-point types, bit for bit like torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cast_tensor(tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """Does what ``tensor.to(dtype)`` does, bit for bit, but faster."""
    import torch

    if (tensor.dtype, dtype) == (torch.bfloat16, torch.float16):
        # torch converts to and from float32 with vector instructions, but between these two
        # element by element. float32 can represent all numbers of both.
        return tensor.to(torch.float32).to(dtype)
    return tensor.to(dtype)


def num_overflows(before: "torch.Tensor", after: "torch.Tensor") -> int:
    """How many numbers of a tensor became infinite in a conversion to another type."""
    import torch

    if before.dtype == after.dtype or not after.is_floating_point() or after.numel() == 0:
        return 0
    if torch.finfo(after.dtype).max >= torch.finfo(before.dtype).max:
        return 0
    # Much faster than checking every number; a NaN anywhere makes both limits NaN.
    if all(limit.isfinite() for limit in torch.aminmax(after)):
        return 0
    return int((after.isinf() & ~before.isinf()).sum())
