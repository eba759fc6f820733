"""The formats of the library compressed-tensors, in which llm-compressor and Kimi publish."""

import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from forgather_convert.errors import MappingError, SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.fp4 import fp4_numbers, nvfp4
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts, scaled
from forgather_convert.tensors.expressions import (
    Expression,
    Reshape,
    Shape,
    Take,
    Unpack,
    cast,
    name_of,
    require_stored_as,
    stored,
)
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

METHOD = "compressed-tensors"
_SCALE = ".weight_scale"
_GLOBAL_SCALE = ".weight_global_scale"
_SHAPE = ".weight_shape"
_ZERO_POINT = ".weight_zero_point"
_INDEX = ".weight_g_idx"
_SCALE_DTYPES = ("bfloat16", "float16", "float32")
_PACKED = "pack-quantized"
_FORMATS = (
    _PACKED,
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
)
#: Modules have one of the formats each.
_MIXED = "mixed-precision"
_BITS = (2, 4, 8)
#: What only a quantized model uses: scales of activations and of the cache.
_DROPPED = (
    ".input_scale",
    ".input_zero_point",
    ".input_global_scale",
    ".output_scale",
    ".output_zero_point",
    ".k_scale",
    ".v_scale",
    ".q_scale",
)


def find_compressed_tensors(quantization: Quantization) -> Dequantizer | None:
    """The formats of compressed-tensors for numbers of 2, 4 or 8 bits."""
    if quantization.method not in (METHOD, "compressed_tensors"):
        return None
    fields = quantization.fields
    groups = _weights(fields)
    formats = {str(fields.get("format")), *(str(group["format"]) for group in groups)}
    other = sorted(formats - {*_FORMATS, _MIXED, "None", "dense"})
    if other:
        raise quantization.refusal(
            f"the format {other[0][:40]!r} is not supported (supported: {', '.join(_FORMATS)})"
        )
    sparsity = fields.get("sparsity_config")
    if isinstance(sparsity, Mapping) and sparsity.get("format") not in (None, "dense"):
        raise quantization.refusal("they are also stored as sparse, which is not supported")
    transform = fields.get("transform_config")
    if isinstance(transform, Mapping) and transform.get("config_groups"):
        raise quantization.refusal(
            "the model rotates activations while it runs ('transform_config'), which unquantized "
            "models do not"
        )
    blocks = {tuple(group["block"]) for group in groups if _is_block(group["block"])}
    block = blocks.pop() if len(blocks) == 1 else None
    tensors = partial(_from_compressed_tensors, _bits(quantization, groups), block)
    return Dequantizer(METHOD, tensors)


def _weights(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The format, the bits, and the block of the weights of each group of modules."""
    groups = fields.get("config_groups")
    values = groups.values() if isinstance(groups, Mapping) else ()
    weights_of_groups: list[Mapping[str, Any]] = []
    for group in values:
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            weights_of_groups.append(
                {
                    "format": group.get("format"),
                    "bits": weights.get("num_bits"),
                    "type": weights.get("type"),
                    "block": weights.get("block_structure"),
                }
            )
    return weights_of_groups


def _is_block(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(size) is int and size > 0 for size in value)
    )


def _bits(quantization: Quantization, groups: list[Mapping[str, Any]]) -> tuple[int, ...]:
    """The numbers of bits that packed integers may have."""
    bits = {group["bits"] for group in groups if group["type"] != "float"}
    other = [size for size in bits if type(size) is not int or size not in _BITS]
    if other:
        raise quantization.refusal(
            f"packed integers of {str(other[0])[:20]} bits are not supported (supported: 2, 4, 8)"
        )
    return tuple(sorted(bits))


def _from_compressed_tensors(
    bits: tuple[int, ...],
    block: tuple[int, int] | None,
    tensors: Mapping[str, TensorRef],
    dtype: str,
) -> dict[str, Expression]:
    def unpack(parts: Parts) -> Expression:
        if parts.numbers.dtype == "uint8":
            return _from_fp4(parts, dtype)
        return _scaled(parts, _unpacked(parts, bits), None, dtype)

    def plain(parts: Parts) -> Expression:
        return _scaled(parts, stored(parts.numbers), block, dtype)

    others = (_SHAPE, _ZERO_POINT, _INDEX, _GLOBAL_SCALE)
    layouts = (
        Layout(".weight_packed", ".weight", _SCALE, others, unpack),
        Layout(".weight", ".weight", _SCALE, (_ZERO_POINT,), plain),
    )
    return dequantize_parts(tensors, layouts, _DROPPED)


def _from_fp4(parts: Parts, dtype: str) -> Expression:
    """As the library, which computes NVFP4 and MXFP4 to bfloat16."""
    packed, scales = stored(parts.numbers), stored(parts.get(_SCALE))
    factor = parts.find(_GLOBAL_SCALE)
    if factor is not None:
        numbers = nvfp4(packed, scales, stored(factor), divides=True, dtype="bfloat16")
    else:
        require_stored_as(scales, ("uint8", "float8_e8m0fnu"))
        numbers = scaled(fp4_numbers(packed), scales, "bfloat16")
    return cast(numbers, dtype)


def _scaled(
    parts: Parts, numbers: Expression, block: tuple[int, int] | None, dtype: str
) -> Expression:
    """As the library, which computes products in the dtype of the scales."""
    scales = stored(parts.get(_SCALE))
    require_stored_as(scales, _SCALE_DTYPES)
    point = parts.find(_ZERO_POINT)
    zeros = None if point is None else stored(point)
    if isinstance(numbers, Unpack) and point is not None and point.dtype == "int32":
        zeros = Unpack(stored(point), 0, "offset", numbers.bits, numbers.shape[0])
    index = parts.find(_INDEX)
    if index is not None:
        scales = Take(scales, 1, stored(index))
        zeros = None if zeros is None else Take(zeros, 1, stored(index))
    product = scaled(numbers, scales, dtype, block, scales.dtype)
    if zeros is None:
        return product
    return replace(product, zeros=Reshape(zeros, product.scales.shape))


def _unpacked(parts: Parts, bits: tuple[int, ...]) -> Unpack:
    packed, shape = stored(parts.numbers), _stored_shape(parts.get(_SHAPE))
    require_stored_as(packed, ("int32",))
    size = shape[-1]
    fitting = [count for count in bits if -(-size * count // 32) == packed.shape[-1]]
    if len(fitting) != 1 or shape[:-1] != packed.shape[:-1]:
        raise MappingError(
            f"{name_of(packed)} has the shape {format_shape(packed.shape)}, which cannot hold a "
            f"matrix of {format_shape(shape)} in integers of {' or '.join(map(str, bits))} bits. "
            "Check that config and weights belong to the same model."
        )
    return Unpack(packed, len(shape) - 1, "offset", fitting[0], size)


def _stored_shape(ref: TensorRef) -> Shape:
    """The shape that a tensor's content states.

    Raises:
        SourceError: It states none.
    """
    code = {"int64": "q", "int32": "i"}.get(ref.dtype)
    if code is None or len(ref.shape) != 1:
        raise SourceError(
            f"'{ref.name}' in {ref.file} must be the shape of a tensor, but is "
            f"{ref.dtype} {format_shape(ref.shape)}. Download the model again."
        )
    layout = f"<{ref.shape[0]}{code}"
    with with_filename(ref.file), ref.file.open("rb") as file:
        file.seek(ref.offset)
        data = file.read(struct.calcsize(layout))
    try:
        return struct.unpack(layout, data)
    except struct.error as error:
        raise SourceError(f"{ref.file} ended while it was read. Download it again.") from error
