"""Dequantizes the tensors of a quantized checkpoint, by the names that the model gives them."""

import logging
from collections.abc import Mapping

from forgather_convert.errors import SourceError, UnsupportedModelError
from forgather_convert.source.quantization import Quantization
from forgather_convert.tensors.dtypes import FLOAT8_DTYPES
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    Mxfp4,
    Permute,
    Reshape,
    stored,
)
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape

logger = logging.getLogger(__name__)

_SCALE = "_scale_inv"
#: Scales of activations that are stored instead of being computed while the model runs.
_ACTIVATION_SCALE = "activation_scale"
#: The names of scales in other FP8 formats: compressed-tensors, ModelOpt, FBGEMM.
_OTHER_SCALES = ("_scale", "_scale_2", "_inv_scale")
_BLOCKS, _SCALES = "_blocks", "_scales"


def dequantized_tensors(
    tensors: Mapping[str, TensorRef], quantization: Quantization, dtype: str
) -> dict[str, Expression]:
    """A checkpoint's tensors, with the quantized ones dequantized.

    Args:
        tensors: The stored tensors.
        quantization: The format of the quantized ones.
        dtype: The dtype of dequantized tensors. The others keep theirs.

    Raises:
        SourceError: A part of a quantized tensor is missing.
        MappingError: The parts do not fit.
    """
    if quantization.method == "mxfp4":
        return _from_mxfp4(tensors, dtype)
    return _from_fp8(tensors, quantization.block, dtype)


def _from_fp8(
    tensors: Mapping[str, TensorRef], block: tuple[int, int] | None, dtype: str
) -> dict[str, Expression]:
    """``X`` is what is stored as ``X`` times ``X_scale_inv``."""
    result: dict[str, Expression] = {}
    for name, ref in tensors.items():
        if name.endswith(_SCALE):
            _require(tensors, name.removesuffix(_SCALE), ref)
        elif name.endswith(_ACTIVATION_SCALE):
            continue
        elif name + _SCALE in tensors:
            result[name] = _scaled(stored(ref), stored(tensors[name + _SCALE]), block, dtype)
        elif ref.dtype in FLOAT8_DTYPES:
            _refuse_other_scales(tensors, ref)
            _require(tensors, name + _SCALE, ref)
        else:
            result[name] = stored(ref)
    _report_cut_blocks(result)
    return result


def _from_mxfp4(tensors: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
    """``X``, ``[experts, in, out]``, is stored as ``X_blocks`` and ``X_scales``, row by row."""
    result: dict[str, Expression] = {}
    for name, ref in tensors.items():
        base = name.removesuffix(_BLOCKS)
        if name.endswith(_SCALES):
            _require(tensors, name.removesuffix(_SCALES) + _BLOCKS, ref)
        elif name.endswith(_BLOCKS):
            scales = _require(tensors, base + _SCALES, ref)
            numbers = Mxfp4(stored(ref), stored(scales), dtype)
            if len(numbers.shape) != 3:
                raise SourceError(
                    f"'{name}' in {ref.file} has the shape {format_shape(ref.shape)}, but MXFP4 "
                    "weights of experts have four dimensions. Download the file again."
                )
            result[base] = Permute(numbers, (0, 2, 1))
        else:
            result[name] = stored(ref)
    return result


def _scaled(
    value: Expression, scales: Expression, block: tuple[int, int] | None, dtype: str
) -> Expression:
    if block is None:
        rows, columns = value.shape[-2:] if len(value.shape) > 1 else (1, 1)
        if scales.shape in ((), (1,)):
            scales = Reshape(scales, (1,) * len(value.shape))
        grid = scales.shape[-2:] if len(scales.shape) > 1 else (1, 1)
        block = (max(1, rows // max(1, grid[0])), max(1, columns // max(1, grid[1])))
    return BlockScaled(value, scales, block, dtype)


def _refuse_other_scales(tensors: Mapping[str, TensorRef], ref: TensorRef) -> None:
    """Refuses 8-bit tensors that have the scales of another format."""
    other = next((ref.name + end for end in _OTHER_SCALES if ref.name + end in tensors), None)
    if other is not None:
        raise UnsupportedModelError(
            f"{ref.file} has '{ref.name}' in 8 bits and '{other}' as its scale. This FP8 format is "
            f"not supported; in the supported one, scales are named '...{_SCALE}'. Use the model's "
            "unquantized weights, or dequantize them with the program that wrote them."
        )


def _require(tensors: Mapping[str, TensorRef], name: str, other: TensorRef) -> TensorRef:
    if name not in tensors:
        raise SourceError(
            f"{other.file} has '{other.name}', one part of a quantized tensor, but the other part, "
            f"'{name}', is missing. Download the model again."
        )
    return tensors[name]


def _report_cut_blocks(tensors: Mapping[str, Expression]) -> None:
    """Warns of tensors that transformers' dequantizer would refuse or divide differently."""
    names = [name for name, value in tensors.items() if not is_read_by_transformers(value)]
    if names:
        logger.warning(
            "%d quantized tensors do not divide into whole blocks; as the format specifies, the "
            "last blocks are smaller. The dequantizer of transformers refuses such tensors, or "
            "makes all blocks smaller, which gives other values:%s",
            len(names),
            collapse_names(names),
        )


def is_read_by_transformers(value: Expression) -> bool:
    """Whether the dequantizer of transformers computes the same values of a tensor.

    ``Fp8Dequantize`` divides a matrix evenly into as many blocks as there are scales.
    """
    return not isinstance(value, BlockScaled) or value.has_whole_blocks
