"""What describes quantized weights, and what dequantizes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.tensor_ref import TensorRef

#: Gives a checkpoint's tensors, by the names of the unquantized model, from the stored ones. The
#: second argument is the dtype of those that are dequantized; the others keep theirs.
DequantizeTensors = Callable[[Mapping[str, TensorRef], str], Mapping[str, Expression]]


@dataclass(frozen=True)
class Quantization:
    """The description of quantized weights in a model's files.

    Attributes:
        method: The name of the method, such as ``"fp8"``.
        fields: The content of ``quantization_config``, or of the file that takes its place.
        origin: The file, for messages.
    """

    method: str
    fields: Mapping[str, Any]
    origin: str

    def refusal(self, reason: str) -> UnsupportedModelError:
        """The error for weights that cannot be dequantized."""
        return UnsupportedModelError(
            f"{self.origin} describes quantized weights ({self.method}): {reason}. Use the model's "
            "unquantized weights, or dequantize them with the program that wrote them."
        )


@dataclass(frozen=True)
class Dequantizer:
    """Dequantizes the weights of one checkpoint.

    Attributes:
        method: The name of the quantization method.
        tensors: Gives the dequantized tensors.
        loading_fields: The ``quantization_config`` with which transformers 5 dequantizes a
            model while it loads it; ``None`` if it cannot.
    """

    method: str
    tensors: DequantizeTensors
    loading_fields: Mapping[str, Any] | None = None


#: Gives what dequantizes weights; ``None`` if their method is unknown.
FindDequantizer = Callable[[Quantization], Dequantizer | None]
