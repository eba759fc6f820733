"""FP8: 8-bit numbers with a scale for each block of a matrix, or for its rows."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from forgather_convert.errors import SourceError, UnsupportedModelError
from forgather_convert.quantities import counted
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts, require, scaled
from forgather_convert.tensors.dtypes import FLOAT8_DTYPES
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    require_stored_as,
    stored,
)
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

_SCALE = "_scale_inv"
#: Scales of activations that are stored instead of being computed while the model runs.
_ACTIVATION_SCALE = "activation_scale"
#: The names of scales in other FP8 formats: compressed-tensors, ModelOpt, FBGEMM.
_OTHER_SCALES = ("_scale", "_scale_2", "_inv_scale")
#: The default of transformers' ``FineGrainedFP8Config``.
_DEFAULT_BLOCK = (128, 128)
#: A limit of activations, which FBGEMM's kernels need.
_FBGEMM_LIMIT = "input_scale_ub"


def find_fp8(quantization: Quantization) -> Dequantizer | None:
    """The format of DeepSeek-V3, Qwen3-FP8, and Mistral: ``X`` times ``X_scale_inv``."""
    if quantization.method != "fp8":
        return None
    fields = quantization.fields
    experts = fields.get("expert_dtype", "fp8")
    if experts != "fp8":
        raise quantization.refusal(
            f"its experts are stored as {str(experts)[:40]!r}, which is not supported"
        )
    block = _block(fields, quantization.origin)
    return Dequantizer("fp8", partial(_from_fp8, block), {**fields, "dequantize": True})


def find_fbgemm(quantization: Quantization) -> Dequantizer | None:
    """The format of FBGEMM: ``weight`` times ``weight_scale``, one for each row, in float32."""
    if quantization.method != "fbgemm_fp8":
        return None
    return Dequantizer("fbgemm_fp8", _from_fbgemm)


def _block(fields: Mapping[str, Any], origin: str) -> tuple[int, int] | None:
    block = fields.get("weight_block_size", _DEFAULT_BLOCK)
    if block is None:
        return None
    # Not isinstance: True is not a size.
    if (
        not isinstance(block, list | tuple)
        or len(block) != 2
        or any(type(size) is not int or size < 1 for size in block)
    ):
        raise SourceError(
            f"In {origin}, 'weight_block_size' must be two positive numbers, not "
            f"{str(block)[:40]}. Fix the file, or download it again."
        )
    return block[0], block[1]


def _from_fp8(
    block: tuple[int, int] | None, tensors: Mapping[str, TensorRef], dtype: str
) -> dict[str, Expression]:
    for name, ref in tensors.items():
        if ref.dtype in FLOAT8_DTYPES and name + _SCALE not in tensors:
            _refuse_other_scales(tensors, ref)
            require(tensors, name + _SCALE, ref)

    def dequantize(parts: Parts) -> Expression:
        scale = stored(parts.get(_SCALE))
        return scaled(float8(parts.numbers), scale, dtype, block)

    layout = Layout("", "", _SCALE, (), dequantize)
    result = dequantize_parts(tensors, (layout,), (_ACTIVATION_SCALE,))
    _report_cut_blocks(result)
    return result


def _from_fbgemm(tensors: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
    def dequantize(parts: Parts) -> Expression:
        return scaled(float8(parts.numbers), stored(parts.get(".weight_scale")), dtype)

    layout = Layout(".weight", ".weight", ".weight_scale", (), dequantize)
    return dequantize_parts(tensors, (layout,), (_FBGEMM_LIMIT,))


def float8(ref: TensorRef) -> Expression:
    """A tensor that must have an FP8 type.

    Raises:
        MappingError: It has another.
    """
    value = stored(ref)
    require_stored_as(value, FLOAT8_DTYPES)
    return value


def _refuse_other_scales(tensors: Mapping[str, TensorRef], ref: TensorRef) -> None:
    """Refuses 8-bit tensors that have the scales of another format."""
    other = next((ref.name + end for end in _OTHER_SCALES if ref.name + end in tensors), None)
    if other is not None:
        raise UnsupportedModelError(
            f"{ref.file} has '{ref.name}' in 8 bits and '{other}' as its scale, but in the format "
            f"that the config describes ('fp8'), scales are named '...{_SCALE}'. Use the model's "
            "unquantized weights, or dequantize them with the program that wrote them."
        )


def _report_cut_blocks(tensors: Mapping[str, Expression]) -> None:
    """Warns of tensors that transformers' dequantizer would refuse or divide differently."""
    names = [name for name, value in tensors.items() if not is_read_by_transformers(value)]
    if names:
        logger.warning(
            "%s cannot be divided into whole blocks; as the format specifies, the last blocks are "
            "smaller. The dequantizer of transformers refuses this, or makes all blocks smaller, "
            "which gives other values:%s",
            counted(len(names), "quantized tensor"),
            collapse_names(names),
        )


def is_read_by_transformers(value: Expression) -> bool:
    """Whether the dequantizer of transformers computes the same values of a tensor.

    ``Fp8Dequantize`` divides a matrix evenly into as many blocks as there are scales.
    """
    return not isinstance(value, BlockScaled) or value.has_whole_blocks
