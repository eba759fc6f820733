"""The formats of NVIDIA's ModelOpt."""

from collections.abc import Mapping
from typing import Any

from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.quantization.fp4 import nvfp4
from forgather_convert.quantization.fp8 import float8
from forgather_convert.quantization.parts import Layout, Parts, dequantize_parts, scaled
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.tensor_ref import TensorRef

_ALGORITHMS = ("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "NVFP4")
_MIXED = "MIXED_PRECISION"
_FACTOR = ".weight_scale_2"
#: Scales of activations and of the cache.
_DROPPED = (".input_scale", ".k_scale", ".v_scale", ".q_scale", ".output_scale")


def find_modelopt(quantization: Quantization) -> Dequantizer | None:
    """FP8, and NVFP4 with a factor for all scales of a tensor."""
    if not quantization.method.startswith("modelopt"):
        return None
    other = [name for name in _algorithms(quantization.fields) if name not in _ALGORITHMS]
    if other:
        raise quantization.refusal(
            f"the algorithm {other[0][:40]!r} is not supported (supported: "
            f"{', '.join(_ALGORITHMS)})"
        )
    return Dequantizer(quantization.method, _from_modelopt)


def _algorithms(fields: Mapping[str, Any]) -> list[str]:
    algorithm = fields.get("quant_algo")
    layers = fields.get("quantized_layers")
    if algorithm == _MIXED and isinstance(layers, Mapping):
        return [
            str(layer.get("quant_algo") if isinstance(layer, Mapping) else layer)
            for layer in layers.values()
        ]
    return [str(algorithm)]


def _from_modelopt(tensors: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
    def dequantize(parts: Parts) -> Expression:
        scale = stored(parts.get(".weight_scale"))
        if parts.numbers.dtype == "uint8":
            factor = stored(parts.get(_FACTOR))
            return nvfp4(stored(parts.numbers), scale, factor, divides=False, dtype=dtype)
        # As FP8QTensor.dequantize, which rounds the scale to the dtype first.
        return scaled(float8(parts.numbers), scale, dtype, arithmetic=dtype)

    layout = Layout(".weight", ".weight", ".weight_scale", (_FACTOR,), dequantize)
    return dequantize_parts(tensors, (layout,), _DROPPED)
