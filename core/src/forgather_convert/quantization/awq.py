"""AWQ: integers of 4 bits, packed along the output dimension in an order of their own."""

from collections.abc import Mapping

from forgather_convert.errors import MappingError
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    Permute,
    Unpack,
    name_of,
    require_stored_as,
    stored,
)
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

_QWEIGHT, _SCALES, _ZEROS = ".qweight", ".scales", ".qzeros"
#: Where the numbers of eight columns are in an integer.
_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def find_awq(quantization: Quantization) -> Dequantizer | None:
    """The format of AutoAWQ for its kernel 'gemm', in which models are published."""
    fields = quantization.fields
    if quantization.method != "awq":
        return None
    bits = fields.get("bits", fields.get("w_bit"))
    if bits != 4:
        raise quantization.refusal(f"AWQ with {str(bits)[:20]} bits is not supported")
    version = fields.get("version") or fields.get("format") or "gemm"
    if str(version).lower() != "gemm":
        raise quantization.refusal(
            f"the version {str(version)[:40]!r} is not supported (supported: 'gemm')"
        )
    return Dequantizer("awq", _from_awq)


def _from_awq(tensors: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
    layout = Layout(
        _QWEIGHT, ".weight", _ZEROS, (_SCALES,), lambda parts: _dequantized(parts, dtype)
    )
    return dequantize_parts(tensors, (layout,))


def _dequantized(parts: Parts, dtype: str) -> Expression:
    """As ``dequantize_gemm`` of AutoAWQ, in the dtype of the scales."""
    packed, scales = stored(parts.numbers), stored(parts.get(_SCALES))
    packed_zeros = stored(parts.get(_ZEROS))
    require_stored_as(packed, ("int32",))
    require_stored_as(packed_zeros, ("int32",))
    require_stored_as(scales, ("float16", "bfloat16", "float32"))
    if len(packed.shape) != 2 or len(scales.shape) != 2:
        raise MappingError(
            f"{name_of(packed)} has the shape {format_shape(packed.shape)}, and "
            f"{name_of(scales)} {format_shape(scales.shape)}; both must be matrices. Check that "
            "config and weights belong to the same model."
        )
    size = scales.shape[1]
    numbers = Unpack(packed, 1, "unsigned", 4, size, _ORDER)
    zeros = Unpack(packed_zeros, 1, "unsigned", 4, size, _ORDER)
    group = -(-packed.shape[0] // max(1, scales.shape[0]))
    rows = BlockScaled(numbers, scales, (max(1, group), 1), dtype, scales.dtype, zeros)
    return Permute(rows, (1, 0))
