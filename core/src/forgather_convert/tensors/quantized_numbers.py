"""Dequantizes tensors with torch."""

from typing import TYPE_CHECKING

from forgather_convert.tensors.dtypes import to_torch

if TYPE_CHECKING:
    import torch

#: The numbers of FP4 E2M1, by their bits.
_FP4_VALUES = (
    0.0,
    0.5,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    6.0,
    -0.0,
    -0.5,
    -1.0,
    -1.5,
    -2.0,
    -3.0,
    -4.0,
    -6.0,
)
#: The bias of the exponent of a power of two that is stored in a byte.
_EXPONENT_BIAS = 127


def scale_blocks(
    elements: "torch.Tensor",
    scales: "torch.Tensor",
    start: tuple[int, int],
    block: tuple[int, int],
    dtype: str,
) -> "torch.Tensor":
    """Dequantizes a part of a matrix of scaled blocks.

    Args:
        elements: Its elements, ``[..., rows, columns]``.
        scales: The scales of the blocks that contain it.
        start: Its first row and column in the matrix.
        block: The rows and columns of a block.
        dtype: The dtype of the result.
    """
    import torch

    rows = torch.arange(start[0], start[0] + elements.shape[-2]) // block[0]
    factors = _as_numbers(scales).index_select(-2, rows - start[0] // block[0])
    numbers = torch.arange(256, dtype=torch.uint8).view(elements.dtype).to(torch.float32)
    bits = elements.contiguous().view(torch.uint8)
    result = numbers.index_select(0, bits.view(-1).to(torch.int32)).view(elements.shape)
    _scale_columns(result, factors, start[1], block[1])
    return result.to(to_torch(dtype))


def _scale_columns(matrix: "torch.Tensor", factors: "torch.Tensor", start: int, step: int) -> None:
    """Multiplies blocks of columns by one factor each, in place.

    Broadcasting over whole blocks is faster than one factor per column, and needs no memory.
    """
    width = matrix.shape[-1]
    head = min(-start % step, width)
    whole = (width - head) // step
    body = head + whole * step
    first = int(head > 0)
    if head:
        matrix[..., :head].mul_(factors[..., :1])
    if whole:
        blocks = matrix[..., head:body].view(*matrix.shape[:-1], whole, step)
        blocks.mul_(factors[..., first : first + whole, None])
    if body < width:
        matrix[..., body:].mul_(factors[..., -1:])


def decode_mxfp4(blocks: "torch.Tensor", scales: "torch.Tensor", dtype: str) -> "torch.Tensor":
    """Dequantizes MXFP4 groups to ``[..., groups * numbers of a group]``.

    Args:
        blocks: Two numbers in each byte, ``[..., groups, bytes of a group]``.
        scales: The exponents of the groups, ``[..., groups]``.
        dtype: The dtype of the result; the product is computed in float32 and rounded once.
    """
    import torch

    byte = torch.arange(256)
    numbers = torch.tensor(_FP4_VALUES)
    pairs = torch.stack([numbers[byte & 0x0F], numbers[byte >> 4]], dim=-1)
    result = pairs.index_select(0, blocks.reshape(-1).to(torch.int32))
    result = result.view(*blocks.shape[:-1], 2 * blocks.shape[-1])
    exponents = scales.to(torch.int32) - _EXPONENT_BIAS
    return result.ldexp_(exponents.unsqueeze(-1)).to(to_torch(dtype)).flatten(-2)


def _as_numbers(scales: "torch.Tensor") -> "torch.Tensor":
    import torch

    if scales.dtype == torch.uint8:
        return (scales.to(torch.float32) - _EXPONENT_BIAS).exp2()
    return scales.to(torch.float32)
