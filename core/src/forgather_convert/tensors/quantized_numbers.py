"""Dequantizes tensors with torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from forgather_convert.tensors.dtypes import PACKED_DTYPES, PackedEncoding, to_torch

if TYPE_CHECKING:
    import torch

    from forgather_convert.tensors.expressions import BlockScaled, Unpack

#: The magnitudes of FP4 E2M1, by their bits; a fourth bit is the sign.
_E2M1_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: The bias of the exponent of a power of two that is stored in a byte.
_EXPONENT_BIAS = 127
_LARGEST_EXPONENT = 255


def scale_blocks(
    elements: "torch.Tensor",
    scales: "torch.Tensor",
    zeros: "torch.Tensor | None",
    start: tuple[int, int],
    expression: "BlockScaled",
) -> "torch.Tensor":
    """Dequantizes a part of a matrix of scaled blocks.

    Args:
        elements: Its elements, ``[..., rows, columns]``.
        scales: The scales of the blocks that contain it.
        zeros: Their zero points, if they have any.
        start: Its first row and column in the matrix.
        expression: The matrix.
    """
    import torch

    block, arithmetic = expression.block, to_torch(expression.arithmetic)
    rows = torch.arange(start[0], start[0] + elements.shape[-2]) // block[0] - start[0] // block[0]
    result = _as_float32(elements)
    if zeros is not None:
        numbers = zeros.to(torch.float32).index_select(-2, rows)
        _change_columns(result, numbers, start[1], block[1], torch.Tensor.sub_)
    result = result.to(arithmetic)
    factors = _as_numbers(scales).to(arithmetic).index_select(-2, rows)
    change = torch.Tensor.div_ if expression.divides else torch.Tensor.mul_
    _change_columns(result, factors, start[1], block[1], change)
    if scales.dtype == torch.uint8 and bool((scales == _LARGEST_EXPONENT).any()):
        # The power itself would be infinite, but not every product.
        rest = torch.where(scales == _LARGEST_EXPONENT, 2.0, 1.0).index_select(-2, rows)
        _change_columns(result, rest, start[1], block[1], torch.Tensor.mul_)
    return result.to(to_torch(expression.dtype))


def _as_float32(elements: "torch.Tensor") -> "torch.Tensor":
    """Numbers of 8 bits in float32; a table is faster than torch's conversion of FP8."""
    import torch

    if not elements.is_floating_point():
        return elements.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    numbers = torch.arange(256, dtype=torch.uint8).view(elements.dtype).to(torch.float32)
    bits = elements.contiguous().view(torch.uint8)
    return numbers.index_select(0, bits.view(-1).to(torch.int32)).view(elements.shape)


def _change_columns(
    matrix: "torch.Tensor",
    factors: "torch.Tensor",
    start: int,
    step: int,
    change: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"],
) -> None:
    """Changes blocks of columns by one number each, in place.

    Broadcasting over whole blocks is faster than one number per column, and needs no memory.
    """
    width = matrix.shape[-1]
    head = min(-start % step, width)
    whole = (width - head) // step
    body = head + whole * step
    first = int(head > 0)
    if head:
        change(matrix[..., :head], factors[..., :1])
    if whole:
        blocks = matrix[..., head:body].view(*matrix.shape[:-1], whole, step)
        change(blocks, factors[..., first : first + whole, None])
    if body < width:
        change(matrix[..., body:], factors[..., -1:])


def unpack_integers(integers: "torch.Tensor", expression: "Unpack") -> "torch.Tensor":
    """Unpacks the numbers in integers, all of which hold as many as fit."""
    import torch

    if expression.increment:
        integers = integers + expression.increment
    table = _numbers_of_bytes(expression.encoding, expression.bits)
    # An integer's bytes are in the order of this machine, which is little-endian, as in the file.
    lines = integers.movedim(expression.dim, -1).contiguous()
    index = lines.reshape(-1).view(torch.uint8).to(torch.int32)
    numbers = table.index_select(0, index).view(to_torch(expression.dtype))
    if expression.order:
        numbers = numbers.view(-1, expression.per_integer)
        numbers = numbers.view(torch.uint8).index_select(1, torch.tensor(expression.order))
        numbers = numbers.view(to_torch(expression.dtype))
    numbers = numbers.reshape(*lines.shape[:-1], lines.shape[-1] * expression.per_integer)
    return numbers.movedim(-1, expression.dim)


def _numbers_of_bytes(encoding: PackedEncoding, bits: int) -> "torch.Tensor":
    """For every byte, the numbers in it, as the bytes of their type."""
    import torch

    codes = torch.arange(1 << bits)
    if encoding == "e2m1":
        numbers = torch.tensor(_E2M1_MAGNITUDES + tuple(-number for number in _E2M1_MAGNITUDES))
    else:
        numbers = codes - (1 << bits - 1) if encoding == "offset" else codes
    coded = numbers.to(to_torch(PACKED_DTYPES[encoding])).view(torch.uint8)
    byte = torch.arange(256)
    parts = [coded[byte >> shift & (1 << bits) - 1] for shift in range(0, 8, bits)]
    return torch.stack(parts, dim=-1)


def _as_numbers(scales: "torch.Tensor") -> "torch.Tensor":
    import torch

    if scales.dtype == torch.uint8:
        exponents = scales.clamp(max=_LARGEST_EXPONENT - 1).to(torch.float32)
        return (exponents - _EXPONENT_BIAS).exp2()
    # torch converts some 8-bit types only to float32.
    return scales.to(torch.float32) if scales.element_size() == 1 else scales
