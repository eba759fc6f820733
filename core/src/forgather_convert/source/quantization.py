"""Reads from the files of a model whether its weights are quantized, and how."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.files.json_file import read_json_object
from forgather_convert.quantization.description import (
    Dequantizer,
    FindDequantizer,
    Quantization,
)
from forgather_convert.quantization.formats import METHODS
from forgather_convert.source.composite import TEXT_CONFIG
from forgather_convert.source.config_file import SourceConfig

#: The config fields that describe quantized weights.
QUANTIZATION_FIELDS = ("quantization_config", "compression_config")


def _modelopt_fields(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    fields = content.get("quantization")
    if not isinstance(fields, Mapping) or not fields.get("quant_algo"):
        return None
    return {"quant_method": "modelopt", **fields}


def _gptq_fields(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return {"quant_method": "gptq", **content} if "bits" in content else None


def _awq_fields(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return {"quant_method": "awq", **content} if "w_bit" in content else None


#: Files that describe quantized weights if the config does not, and how they do.
SIDE_FILES: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any] | None]] = {
    "hf_quant_config.json": _modelopt_fields,
    "quantize_config.json": _gptq_fields,
    "quant_config.json": _awq_fields,
}


def describe_quantization(config: SourceConfig, directory: Path | None) -> Quantization | None:
    """Reads the description of quantized weights; ``None`` if they are not quantized.

    Args:
        config: The content of ``config.json``.
        directory: The directory of files beside it, if they count.

    Raises:
        SourceError: A file is damaged.
    """
    # A composite may describe it for its text model only.
    for fields in (config, config.get(TEXT_CONFIG)):
        if isinstance(fields, Mapping):
            for name in QUANTIZATION_FIELDS:
                if fields.get(name):
                    return _quantization(fields[name], config.origin)
    for name, read_fields in SIDE_FILES.items():
        path = None if directory is None else directory / name
        if path is not None and path.is_file():
            fields = read_fields(read_json_object(path))
            if fields is not None:
                return _quantization(fields, str(path))
    return None


def read_quantization(
    config: SourceConfig, directory: Path, dequantizes: bool, find: FindDequantizer
) -> Dequantizer | None:
    """Finds what dequantizes a model's weights; ``None`` if they are not quantized.

    Args:
        config: The content of ``config.json``.
        directory: The directory of files beside it.
        dequantizes: Whether the user has requested to dequantize them.
        find: Finds what dequantizes a format.

    Raises:
        UnsupportedModelError: They are quantized, and the user has not requested to dequantize
            them, or the format is not supported.
        SourceError: The description is invalid.
    """
    quantization = describe_quantization(config, directory)
    if quantization is None:
        return None
    dequantizer = find(quantization)
    if dequantizer is None:
        raise quantization.refusal(
            f"dequantizing this method is not supported (supported: {', '.join(METHODS)})"
        )
    if not dequantizes:
        raise _quantized(quantization)
    return dequantizer


def refuse_quantized_config(config: SourceConfig) -> None:
    """Refuses a config that describes quantized weights.

    Raises:
        UnsupportedModelError: It does.
    """
    quantization = describe_quantization(config, None)
    if quantization is not None:
        raise _quantized(quantization)


def _quantized(quantization: Quantization) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{quantization.origin} describes quantized weights ({quantization.method}). Use "
        "--dequantize to convert their dequantized values, or use the model's unquantized weights."
    )


def without_quantization(config: SourceConfig) -> SourceConfig:
    """The config of the same model with weights that are not quantized."""
    return SourceConfig(without_quantization_fields(config), config.origin)


def without_quantization_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that do not describe quantized weights."""
    others = {name: value for name, value in fields.items() if name not in QUANTIZATION_FIELDS}
    if isinstance(others.get(TEXT_CONFIG), Mapping):
        others[TEXT_CONFIG] = without_quantization_fields(others[TEXT_CONFIG])
    return others


def _quantization(described: Any, origin: str) -> Quantization:
    fields = described if isinstance(described, Mapping) else {}
    return Quantization(_method(fields), fields, origin)


def _method(fields: Mapping[str, Any]) -> str:
    method = fields.get("quant_method")
    if method is None and any(fields.get(name) for name in ("load_in_4bit", "load_in_8bit")):
        return "bitsandbytes"
    return "unknown method" if method is None else str(method)
