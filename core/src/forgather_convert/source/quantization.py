"""How a config says that the weights beside it are quantized, and what can be read of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forgather_convert.errors import SourceError, UnsupportedModelError
from forgather_convert.source.config_file import SourceConfig

#: The fields of a config that describe quantized weights.
QUANTIZATION_FIELDS = ("quantization_config", "compression_config")
#: What ``FineGrainedFP8Config`` of transformers takes where a config does not say.
_DEFAULT_BLOCK = (128, 128)


@dataclass(frozen=True)
class Quantization:
    """A form of quantized weights that stands for exact numbers.

    Attributes:
        method: ``"fp8"``: 8-bit numbers with a scale for each block of a matrix.
            ``"mxfp4"``: 4-bit numbers with a power of two for each group of them.
        block: The rows and columns of a block; ``None`` where the scales tell.
        fields: The content of the field ``quantization_config``.
    """

    method: Literal["fp8", "mxfp4"]
    block: tuple[int, int] | None
    fields: Mapping[str, Any]


def read_quantization(config: SourceConfig, dequantizes: bool) -> Quantization | None:
    """Reads what a config says of its weights; ``None`` if they are not quantized.

    Args:
        config: The content of ``config.json``.
        dequantizes: Whether the user asks for the numbers that the weights stand for.

    Raises:
        UnsupportedModelError: They are quantized, and the user does not ask for that, or the
            method is none whose numbers are known.
        SourceError: The block size is none.
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
            "the numbers that they stand for, or use the model's unquantized weights."
        )
    if method == "mxfp4":
        return Quantization("mxfp4", None, fields)
    return Quantization("fp8", _block(fields, config.origin), fields)


def _why_not_read(method: str | None, fields: Mapping[str, Any]) -> str | None:
    """Why the numbers that weights stand for are not computed; ``None`` if they are."""
    if method not in ("fp8", "mxfp4"):
        return "of all formats, only 'fp8' in scaled blocks and 'mxfp4' are read"
    experts = fields.get("expert_dtype", "fp8")
    if experts != "fp8":
        return f"its experts are stored as {str(experts)[:40]!r}, a format that is not read"
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
    # Not isinstance: true is no size.
    if (
        not isinstance(block, list | tuple)
        or len(block) != 2
        or any(type(size) is not int or size < 1 for size in block)
    ):
        raise SourceError(
            f"In {origin}, 'weight_block_size' must be two positive numbers, not "
            f"{str(block)[:40]}. Correct the file, or download it again."
        )
    return block[0], block[1]
