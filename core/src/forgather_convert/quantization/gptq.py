"""GPTQ: integers of a few bits, packed along the input dimension."""

from collections.abc import Mapping
from functools import partial

from forgather_convert.errors import MappingError
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    Permute,
    Take,
    Unpack,
    name_of,
    require_stored_as,
    stored,
)
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

_BITS = (2, 4, 8)
#: The bits of the integers that numbers are packed in.
_INTEGER = 32
_QWEIGHT, _SCALES, _ZEROS, _INDEX = ".qweight", ".scales", ".qzeros", ".g_idx"
#: How the zero points are stored: less 1, or as they are.
_LESS_ONE, _AS_THEY_ARE = (None, "gptq"), ("gptq_v2",)


def find_gptq(quantization: Quantization) -> Dequantizer | None:
    """The format of AutoGPTQ and GPTQModel."""
    fields = quantization.fields
    if quantization.method != "gptq":
        return None
    bits = fields.get("bits")
    if type(bits) is not int or bits not in _BITS:
        raise quantization.refusal(f"GPTQ with {str(bits)[:20]} bits is not supported")
    form = fields.get("checkpoint_format")
    if form not in (*_LESS_ONE, *_AS_THEY_ARE):
        raise quantization.refusal(f"the checkpoint format {str(form)[:40]!r} is not supported")
    packed = fields.get("pack_dtype")
    if packed not in (None, f"int{_INTEGER}"):
        raise quantization.refusal(f"packing into {str(packed)[:40]!r} is not supported")
    return Dequantizer("gptq", partial(_from_gptq, bits, form in _LESS_ONE))


def _from_gptq(
    bits: int, is_less_one: bool, tensors: Mapping[str, TensorRef], dtype: str
) -> dict[str, Expression]:
    layout = Layout(
        _QWEIGHT,
        ".weight",
        _ZEROS,
        (_SCALES, _INDEX),
        lambda parts: _dequantized(parts, bits, is_less_one, dtype),
    )
    return dequantize_parts(tensors, (layout,))


def _dequantized(parts: Parts, bits: int, is_less_one: bool, dtype: str) -> Expression:
    """As ``TorchQuantLinear.dequantize_weight`` of GPTQModel, in the dtype of the scales.

    The matrix is stored as ``[in, out]``. The group of a row is in ``g_idx``, even if it follows
    from the row.
    """
    packed, scales = stored(parts.numbers), stored(parts.get(_SCALES))
    index, packed_zeros = stored(parts.get(_INDEX)), stored(parts.get(_ZEROS))
    require_stored_as(packed, ("int32",))
    require_stored_as(packed_zeros, ("int32",))
    require_stored_as(scales, ("float16", "bfloat16", "float32"))
    size = index.shape[0] if len(index.shape) == 1 else 0
    # Modules may differ from the number of bits in the config.
    if size and packed.shape[0] * _INTEGER % size == 0:
        bits = packed.shape[0] * _INTEGER // size
    if len(packed.shape) != 2 or len(scales.shape) != 2 or bits not in _BITS:
        raise MappingError(
            f"{name_of(packed)} has the shape {format_shape(packed.shape)}, and "
            f"{name_of(scales)} {format_shape(scales.shape)}; they are not a matrix of {size} "
            f"rows in {bits} bits. Check that config and weights belong to the same model."
        )
    numbers = Unpack(packed, 0, "unsigned", bits, size)
    one = sum(1 << shift for shift in range(0, _INTEGER, bits)) if is_less_one else 0
    zeros = Unpack(packed_zeros, 1, "unsigned", bits, scales.shape[1], increment=one)
    rows = BlockScaled(
        numbers, Take(scales, 0, index), (1, 1), dtype, scales.dtype, Take(zeros, 0, index)
    )
    return Permute(rows, (1, 0))
