"""Products that are computed once for both models, by the fastest way on this processor.

Processors without instructions for bfloat16 or float16 take several times as long for a product of
such matrices as for one of float32. A product that both models need is computed once, so that any
way of computing it gives both the same; where it is faster, it is computed in float32, and rounded.
"""

import time
from functools import cache

import torch
from torch.nn import functional

_NARROW = (torch.bfloat16, torch.float16)
#: The shape of the products that are timed: as many rows as a check has, and a part of a matrix.
_ROWS, _SIZE = 64, 1024
_ROUNDS = 3


def shared_linear(
    input: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """``input @ matrix.T + bias`` in the dtype of the input, accumulated in float32."""
    if input.device.type != "cpu" or shared_product_dtype(input.dtype) == input.dtype:
        return functional.linear(input, matrix, bias)
    wide = functional.linear(input.float(), matrix.float(), None if bias is None else bias.float())
    return wide.to(input.dtype)


def shared_product_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which shared products of matrices of a dtype are computed on a CPU."""
    return torch.float32 if _is_faster_in_float32(dtype) else dtype


@cache
def _is_faster_in_float32(dtype: torch.dtype) -> bool:
    if dtype not in _NARROW:
        return False
    input, matrix = torch.ones((_ROWS, _SIZE), dtype=dtype), torch.ones((_SIZE, _SIZE), dtype=dtype)
    return _seconds(input, matrix, True) < _seconds(input, matrix, False)


def _seconds(input: torch.Tensor, matrix: torch.Tensor, is_wide: bool) -> float:
    """The least of several times, without the first, which prepares the matrix library."""
    times = []
    for _ in range(1 + _ROUNDS):
        start = time.perf_counter()
        if is_wide:
            functional.linear(input.float(), matrix.float()).to(input.dtype)
        else:
            functional.linear(input, matrix)
        times.append(time.perf_counter() - start)
    return min(times[1:])
