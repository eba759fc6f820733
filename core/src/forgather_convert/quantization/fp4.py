"""FP4: 4-bit floating-point numbers with a scale for each group of them."""

from collections.abc import Mapping

from forgather_convert.errors import MappingError, SourceError
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts, scaled
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    Permute,
    Reshape,
    Unpack,
    name_of,
    require_stored_as,
    stored,
)
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

_BLOCKS, _SCALES = "_blocks", "_scales"


def find_mxfp4(quantization: Quantization) -> Dequantizer | None:
    """The format of gpt-oss: ``X_blocks`` times the powers of two in ``X_scales``."""
    if quantization.method != "mxfp4":
        return None
    return Dequantizer("mxfp4", _from_mxfp4, {**quantization.fields, "dequantize": True})


def _from_mxfp4(tensors: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
    """``X``, ``[experts, in, out]``, is stored as ``X_blocks`` and ``X_scales``, row by row."""

    def dequantize(parts: Parts) -> Expression:
        ref = parts.numbers
        numbers = mxfp4(stored(ref), stored(parts.get(_SCALES)), dtype)
        if len(numbers.shape) != 3:
            raise SourceError(
                f"'{ref.name}' in {ref.file} has the shape {format_shape(ref.shape)}, but MXFP4 "
                "weights of experts have four dimensions. Download the file again."
            )
        return Permute(numbers, (0, 2, 1))

    return dequantize_parts(tensors, (Layout(_BLOCKS, "", _SCALES, (), dequantize),))


def mxfp4(blocks: Expression, scales: Expression, dtype: str) -> Expression:
    """4-bit numbers with a power of two for each group: the format MXFP4.

    The format is that of the OCP Microscaling Formats specification 1.0, sections 5.3.3 and 5.4.1;
    the low half of a byte comes first. The values are those of ``convert_moe_packed_tensors`` of
    transformers, before it transposes them: the exponent 255 counts as a number, too.

    Args:
        blocks: Two numbers in each byte, ``[..., groups, bytes of a group]``.
        scales: The exponents of the groups, plus 127, in bytes: ``[..., groups]``.
        dtype: The dtype of the result, ``[..., groups * numbers of a group]``.

    Raises:
        MappingError: They do not fit.
    """
    require_stored_as(scales, ("uint8",))
    if len(blocks.shape) < 3:
        raise MappingError(
            f"{name_of(blocks)} has the shape {format_shape(blocks.shape)}; groups of MXFP4 "
            "numbers have three dimensions or more. Download the model again."
        )
    *rest, groups, size = blocks.shape
    rows = Reshape(blocks, (*rest, groups * size))
    return BlockScaled(fp4_numbers(rows), scales, (1, max(1, 2 * size)), dtype)


def fp4_numbers(packed: Expression) -> Expression:
    """The 4-bit numbers of bytes that hold two each, in the last dimension."""
    require_stored_as(packed, ("uint8",))
    return Unpack(packed, len(packed.shape) - 1, "e2m1", 4, 2 * packed.shape[-1])


def nvfp4(
    packed: Expression, scales: Expression, factor: Expression, divides: bool, dtype: str
) -> Expression:
    """4-bit numbers with an FP8 scale for each group, and one number for the tensor.

    Scales and products are computed in float32, and the product is rounded once, as in
    ``dequantize`` of compressed-tensors and ``NVFP4QTensor.dequantize`` of ModelOpt.

    Args:
        packed: Two numbers in each byte, ``[..., columns / 2]``.
        scales: The scales of the groups, ``[..., groups]``.
        factor: By which the scales are multiplied.
        divides: Whether they are divided by it instead.
        dtype: The dtype of the result.
    """
    require_stored_as(scales, ("float8_e4m3fn",))
    if factor.shape not in ((), (1,)):
        raise MappingError(
            f"{name_of(factor)} has the shape {format_shape(factor.shape)}, but must be one "
            "number. Check that the files belong to the same model."
        )
    grid, whole = (1,) * len(scales.shape), scales.shape[-2:]
    rows, columns = (max(1, size) for size in whole) if len(whole) == 2 else (1, 1)
    factors = BlockScaled(
        scales, Reshape(factor, grid), (rows, columns), "float32", divides=divides
    )
    return scaled(fp4_numbers(packed), factors, dtype)
