"""Converts tensors between types of floating-point numbers, with torch's bits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cast_tensor(tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """What ``tensor.to(dtype)`` gives, to the bit."""
    import torch

    if (tensor.dtype, dtype) == (torch.bfloat16, torch.float16):
        # torch converts to and from float32 with the processor's instructions, and between these
        # two number by number. float32 holds every number of both.
        return tensor.to(torch.float32).to(dtype)
    return tensor.to(dtype)


def num_overflows(before: "torch.Tensor", after: "torch.Tensor") -> int:
    """How many numbers of a tensor became infinite when it was converted to another type."""
    import torch

    if before.dtype == after.dtype or not after.is_floating_point() or after.numel() == 0:
        return 0
    if torch.finfo(after.dtype).max >= torch.finfo(before.dtype).max:
        return 0
    # Much faster than to look at every number; a NaN anywhere makes both limits NaN.
    if all(limit.isfinite() for limit in torch.aminmax(after)):
        return 0
    return int((after.isinf() & ~before.isinf()).sum())
