"""The formats of quantized weights that core dequantizes."""

from collections.abc import Mapping

from forgather_convert.quantization.awq import find_awq
from forgather_convert.quantization.compressed_tensors import find_compressed_tensors
from forgather_convert.quantization.description import (
    Dequantizer,
    FindDequantizer,
    Quantization,
)
from forgather_convert.quantization.fp4 import find_mxfp4
from forgather_convert.quantization.fp8 import find_fbgemm, find_fp8
from forgather_convert.quantization.gptq import find_gptq
from forgather_convert.quantization.modelopt import find_modelopt

#: What finds a dequantizer, by the names of the methods.
METHODS: Mapping[str, FindDequantizer] = {
    "fp8": find_fp8,
    "fbgemm_fp8": find_fbgemm,
    "mxfp4": find_mxfp4,
    "compressed-tensors": find_compressed_tensors,
    "modelopt": find_modelopt,
    "gptq": find_gptq,
    "awq": find_awq,
}


def find_core_dequantizer(quantization: Quantization) -> Dequantizer | None:
    """What dequantizes weights, if core knows their method."""
    dequantizers = (find(quantization) for find in METHODS.values())
    return next((dequantizer for dequantizer in dequantizers if dequantizer is not None), None)
