"""Reads from a config whether its weights are quantized, and in which format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forgather_convert.errors import SourceError, UnsupportedModelError
from forgather_convert.source.config_file import SourceConfig

#: The config fields that describe quantized weights.
QUANTIZATION_FIELDS = ("quantization_config", "compression_config")
#: The default of transformers' ``FineGrainedFP8Config``.
_DEFAULT_BLOCK = (128, 128)


@dataclass(frozen=True)
class Quantization:
    """A supported format of quantized weights.

    Attributes:
        method: ``"fp8"``: 8-bit numbers with a scale for each block of a matrix.
            ``"mxfp4"``: 4-bit numbers with a power of two for each group of them.
        block: The rows and columns of a block; ``None`` if they follow from the scales.
        fields: The content of the field ``quantization_config``.
    """

    method: Literal["fp8", "mxfp4"]
    block: tuple[int, int] | None
    fields: Mapping[str, Any]


def read_quantization(config: SourceConfig, dequantizes: bool) -> Quantization | None:
    """Reads the format of quantized weights; ``None`` if they are not quantized.

    Args:
        config: The content of ``config.json``.
        dequantizes: Whether the user has requested to dequantize them.

    Raises:
        UnsupportedModelError: They are quantized, and the user has not requested to dequantize
            them, or the format is not supported.
        SourceError: The block size is invalid.
    """
    described = next((config[name] for name in QUANTIZATION_FIELDS if config.get(name)), None)
    if not described:
        return None
    fields = described if isinstance(described, Mapping) else {}
    method = _method(fields)
    reason = _why_not_read(method, fields)
    if reason is not None:
        raise UnsupportedModelError(
            f"{config.origin} describes quantized weights ({method or 'unknown method'}): "
            f"{reason}. Use the model's unquantized weights, or dequantize them with the program "
            "that wrote them."
        )
    if not dequantizes:
        raise UnsupportedModelError(
            f"{config.origin} describes quantized weights ({method}). Use --dequantize to convert "
            "their dequantized values, or use the model's unquantized weights."
        )
    if method == "mxfp4":
        return Quantization("mxfp4", None, fields)
    return Quantization("fp8", _block(fields, config.origin), fields)


def _why_not_read(method: str | None, fields: Mapping[str, Any]) -> str | None:
    """Why weights cannot be dequantized; ``None`` if they can."""
    if method not in ("fp8", "mxfp4"):
        return "the only supported formats are 'fp8' in scaled blocks and 'mxfp4'"
    experts = fields.get("expert_dtype", "fp8")
    if experts != "fp8":
        return f"its experts are stored as {str(experts)[:40]!r}, which is not supported"
    return None


def without_quantization(config: SourceConfig) -> SourceConfig:
    """The config of the same model with weights that are not quantized."""
    fields = {name: value for name, value in config.items() if name not in QUANTIZATION_FIELDS}
    return SourceConfig(fields, config.origin)


def _method(fields: Mapping[str, Any]) -> str | None:
    method = fields.get("quant_method")
    if method is None and any(fields.get(name) for name in ("load_in_4bit", "load_in_8bit")):
        return "bitsandbytes"
    return None if method is None else str(method)


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
