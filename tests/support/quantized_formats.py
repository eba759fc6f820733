"""Random weights in the formats of quantized models, with the values that they stand for.

The values are computed with the formulas of the libraries that define the formats, from the
numbers before they are packed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

#: The parts of a quantized matrix by the ends of their names, and its value in a dtype.
Quantized = tuple[dict[str, torch.Tensor], Callable[[torch.dtype], torch.Tensor]]
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
#: ``AWQ_ORDER`` of AutoAWQ: the columns whose numbers follow one another in an integer.
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
#: The numbers that share a scale.
GROUP = 16
FLOAT = torch.float32


@dataclass(frozen=True)
class Format:
    """A format of quantized weights.

    Attributes:
        quantize: Makes a random matrix of a shape.
        config: The field ``quantization_config``; ``None`` if a side file takes its place.
        side_file: The name and content of that file.
        others: Tensors of a quantized model that its values do not depend on.
    """

    quantize: Callable[[tuple[int, int]], Quantized]
    config: Mapping[str, Any] | None = None
    side_file: tuple[str, Mapping[str, Any]] | None = None
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)


def integers(low: int, high: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randint(low, high, shape, dtype=torch.int64)


def packed(numbers: torch.Tensor, bits: int, dim: int, order: tuple[int, ...] = ()) -> torch.Tensor:
    """Non-negative numbers as int32, the first in the lowest bits; incomplete ones are filled."""
    per_integer = 32 // bits
    lines = numbers.movedim(dim, -1)
    lines = torch.nn.functional.pad(lines, (0, -lines.shape[-1] % per_integer))
    places = lines.reshape(*lines.shape[:-1], -1, per_integer)
    places = places[..., list(order or range(per_integer))]
    words = (places << torch.arange(0, 32, bits)).sum(-1)
    signed = torch.where(words >= 1 << 31, words - (1 << 32), words)
    return signed.to(torch.int32).movedim(-1, dim).contiguous()


def bytes_of_fp4(codes: torch.Tensor) -> torch.Tensor:
    return (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8)


def scales_of(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return (torch.rand(shape) * 0.02 + 0.005).to(dtype)


def spread(scales: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """A scale for each element; each is for a block of rows and columns."""
    rows, columns = (-(-size // count) for size, count in zip(shape, scales.shape, strict=True))
    wide = scales.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    return wide[: shape[0], : shape[1]]


def ct_packed(bits: int, symmetric: bool, dtype: torch.dtype = torch.bfloat16) -> Any:
    """``PackedQuantizationCompressor.decompress`` of compressed-tensors."""

    def quantize(shape: tuple[int, int]) -> Quantized:
        half = 1 << bits - 1
        numbers, groups = integers(-half, half, shape), (shape[0], shape[1] // GROUP)
        scales, zeros = scales_of(groups, dtype), integers(-half, half, groups)
        parts = {
            "weight_packed": packed(numbers + half, bits, 1),
            "weight_scale": scales,
            "weight_shape": torch.tensor(shape),
        }
        if symmetric:
            zeros = torch.zeros_like(zeros)
        else:
            parts["weight_zero_point"] = packed(zeros + half, bits, 0)
        wide = numbers.to(dtype) - spread(zeros, shape).to(dtype)
        value = wide * spread(scales, shape)
        return parts, value.to

    return quantize


def ct_plain(grid: Callable[[tuple[int, int]], tuple[int, ...]], dtype: torch.dtype) -> Any:
    """``FloatQuantizationCompressor.decompress``; ``dtype`` is that of the scales."""

    def quantize(shape: tuple[int, int]) -> Quantized:
        numbers = torch.randn(shape).to(torch.float8_e4m3fn)
        scales = scales_of(grid(shape), dtype)
        value = numbers.to(dtype) * (scales if scales.dim() < 2 else spread(scales, shape))
        return {"weight": numbers, "weight_scale": scales}, value.to

    return quantize


def ct_fp8_blocks(shape: tuple[int, int]) -> Quantized:
    """``dequantize`` of compressed-tensors in blocks, the last of which are smaller."""
    numbers = torch.randn(shape).to(torch.float8_e4m3fn)
    scales = scales_of((-(-shape[0] // 24), -(-shape[1] // 40)), FLOAT)
    wide = scales.repeat_interleave(24, 0).repeat_interleave(40, 1)[: shape[0], : shape[1]]
    return {"weight": numbers, "weight_scale": scales}, (numbers.to(FLOAT) * wide).to


def ct_int8(shape: tuple[int, int]) -> Quantized:
    """``IntQuantizationCompressor.decompress``, with zero points."""
    numbers = integers(-128, 128, shape).to(torch.int8)
    scales, zeros = scales_of((shape[0], 1), torch.float16), integers(-128, 128, (shape[0], 1))
    value = (numbers.to(scales.dtype) - zeros.to(scales.dtype)) * scales
    parts = {"weight": numbers, "weight_scale": scales, "weight_zero_point": zeros.to(torch.int8)}
    return parts, value.to


def ct_nvfp4(shape: tuple[int, int]) -> Quantized:
    """``NVFP4PackedCompressor.decompress``: to bfloat16."""
    codes, factor = integers(0, 16, shape), torch.tensor([700.0])
    scales = (torch.rand(shape[0], shape[1] // GROUP) * 20).to(torch.float8_e4m3fn)
    factors = scales.to(torch.bfloat16) / factor
    value = (E2M1[codes].to(torch.bfloat16).to(factors.dtype) * spread(factors, shape)).bfloat16()
    parts = {
        "weight_packed": bytes_of_fp4(codes),
        "weight_scale": scales,
        "weight_global_scale": factor,
    }
    return parts, value.to


def ct_mxfp4(shape: tuple[int, int]) -> Quantized:
    """``MXFP4PackedCompressor.decompress``: to bfloat16."""
    codes = integers(0, 16, shape)
    scales = integers(110, 125, (shape[0], shape[1] // GROUP)).to(torch.uint8)
    factors = 2.0 ** (scales.to(torch.int32) - 127).to(torch.bfloat16)
    value = E2M1[codes].to(torch.bfloat16) * spread(factors, shape)
    return {"weight_packed": bytes_of_fp4(codes), "weight_scale": scales}, value.to


def modelopt_nvfp4(shape: tuple[int, int]) -> Quantized:
    """``NVFP4QTensor.dequantize`` of ModelOpt."""
    codes, factor = integers(0, 16, shape), torch.tensor(0.00137)
    scales = (torch.rand(shape[0], shape[1] // GROUP) * 20).to(torch.float8_e4m3fn)
    value = E2M1[codes] * spread(scales.to(torch.float32) * factor, shape)
    parts = {
        "weight": bytes_of_fp4(codes),
        "weight_scale": scales,
        "weight_scale_2": factor,
        "input_scale": torch.tensor(0.1),
    }
    return parts, value.to


def modelopt_fp8(grid: Callable[[tuple[int, int]], tuple[int, ...]]) -> Any:
    """``FP8QTensor.dequantize`` of ModelOpt, with a scale for each row or for the whole."""

    def quantize(shape: tuple[int, int]) -> Quantized:
        numbers, scales = torch.randn(shape).to(torch.float8_e4m3fn), scales_of(grid(shape), FLOAT)

        def value(dtype: torch.dtype) -> torch.Tensor:
            return numbers.to(dtype) * scales.view(-1, 1).to(dtype)

        return {"weight": numbers, "weight_scale": scales, "input_scale": torch.tensor(1.0)}, value

    return quantize


def fbgemm(shape: tuple[int, int]) -> Quantized:
    """The product of which FBGEMM's row-wise kernels make use, in float32."""
    numbers, scales = torch.randn(shape).to(torch.float8_e4m3fn), scales_of((shape[0], 1), FLOAT)
    parts = {"weight": numbers, "weight_scale": scales, "input_scale_ub": torch.tensor([1200.0])}
    return parts, (numbers.to(FLOAT) * scales).to


def gptq(bits: int, is_less_one: bool, is_sorted: bool) -> Any:
    """``TorchQuantLinear.dequantize_weight`` of GPTQModel, zero points as it converts them."""

    def quantize(shape: tuple[int, int]) -> Quantized:
        size, columns = shape[1], shape[0]
        numbers = integers(0, 1 << bits, (size, columns))
        groups = (size // GROUP, columns)
        scales, zeros = scales_of(groups, torch.float16), integers(1, 1 << bits, groups)
        index = torch.arange(size) // GROUP
        if not is_sorted:
            index = index[torch.randperm(size)]
        value = scales[index] * (numbers - zeros[index]).to(torch.int16)
        parts = {
            "qweight": packed(numbers, bits, 0),
            "qzeros": packed(zeros - 1 if is_less_one else zeros, bits, 1),
            "scales": scales,
            "g_idx": index.to(torch.int32),
        }
        return parts, value.T.contiguous().to

    return quantize


def awq(shape: tuple[int, int]) -> Quantized:
    """``dequantize_gemm`` of AutoAWQ."""
    size, columns = shape[1], shape[0]
    numbers, groups = integers(0, 16, (size, columns)), (size // GROUP, columns)
    scales, zeros = scales_of(groups, torch.float16), integers(0, 16, groups)
    value = (numbers - spread(zeros, (size, columns))).to(torch.int8) * spread(
        scales, (size, columns)
    )
    parts = {
        "qweight": packed(numbers, 4, 1, AWQ_ORDER),
        "qzeros": packed(zeros, 4, 1, AWQ_ORDER),
        "scales": scales,
    }
    return parts, value.T.contiguous().to


def ct_config(form: str, **weights: Any) -> dict[str, Any]:
    """A ``quantization_config`` as llm-compressor writes it."""
    group = {"targets": ["Linear"], "weights": weights}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }


def ct_int(form: str, bits: int, symmetric: bool = True, **fields: Any) -> dict[str, Any]:
    return ct_config(form, num_bits=bits, type="int", symmetric=symmetric, **fields)


def ct_float(form: str, bits: int, **fields: Any) -> dict[str, Any]:
    return ct_config(form, num_bits=bits, type="float", symmetric=True, **fields)


def one_by_row(shape: tuple[int, int]) -> tuple[int, ...]:
    return (shape[0], 1)


_GROUPS: dict[str, Any] = {"strategy": "group", "group_size": GROUP}
_BLOCKS: dict[str, Any] = {"strategy": "block", "block_structure": [24, 40]}
_MODELOPT = {"quant_method": "modelopt", "producer": {"name": "modelopt"}}
_CACHE = {f"{name}_proj.{name}_scale": torch.tensor(1.0) for name in "kv"}

FORMATS: Mapping[str, Format] = {
    "ct-int4": Format(ct_packed(4, True), ct_int("pack-quantized", 4, **_GROUPS)),
    "ct-int4-zeros": Format(ct_packed(4, False), ct_int("pack-quantized", 4, False, **_GROUPS)),
    "ct-int8-packed": Format(
        ct_packed(8, False, torch.float16), ct_int("pack-quantized", 8, False, **_GROUPS)
    ),
    "ct-int8": Format(ct_int8, ct_int("int-quantized", 8, False, strategy="channel")),
    "ct-fp8-channel": Format(
        ct_plain(one_by_row, torch.bfloat16),
        ct_float("float-quantized", 8, strategy="channel"),
        others=_CACHE,
    ),
    "ct-fp8-tensor": Format(
        ct_plain(lambda shape: (1,), FLOAT), ct_float("naive-quantized", 8, strategy="tensor")
    ),
    "ct-fp8-block": Format(ct_fp8_blocks, ct_float("float-quantized", 8, **_BLOCKS)),
    "ct-nvfp4": Format(
        ct_nvfp4, ct_float("nvfp4-pack-quantized", 4, strategy="tensor_group", group_size=GROUP)
    ),
    "ct-mxfp4": Format(ct_mxfp4, ct_float("mxfp4-pack-quantized", 4, **_GROUPS)),
    "modelopt-nvfp4": Format(modelopt_nvfp4, {**_MODELOPT, "quant_algo": "NVFP4"}, others=_CACHE),
    "modelopt-fp8": Format(
        modelopt_fp8(lambda shape: ()),
        side_file=("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}),
        others=_CACHE,
    ),
    "modelopt-rows": Format(
        modelopt_fp8(lambda shape: (shape[0],)),
        {**_MODELOPT, "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"},
    ),
    "fbgemm": Format(fbgemm, {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}),
    "gptq": Format(
        gptq(4, is_less_one=True, is_sorted=False),
        {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True},
    ),
    "gptq-side-file": Format(
        gptq(8, is_less_one=True, is_sorted=True),
        side_file=("quantize_config.json", {"bits": 8, "group_size": GROUP, "desc_act": False}),
    ),
    "gptq-v2": Format(
        gptq(2, is_less_one=False, is_sorted=True),
        {"quant_method": "gptq", "bits": 2, "checkpoint_format": "gptq_v2"},
    ),
    "awq": Format(awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"}),
    "awq-side-file": Format(
        awq, side_file=("quant_config.json", {"w_bit": 4, "q_group_size": GROUP})
    ),
}
