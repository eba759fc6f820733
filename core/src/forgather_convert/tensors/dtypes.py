"""Names of tensor element types.

The same name is used throughout: torch's without its module, ``"bfloat16"``.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from forgather_convert.errors import OptionError

if TYPE_CHECKING:
    import torch

#: safetensors' codes (from its format description) and the size of an element in bytes.
_SAFETENSORS = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "I16": ("int16", 2),
    "U16": ("uint16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I32": ("int32", 4),
    "U32": ("uint32", 4),
    "F32": ("float32", 4),
    "I64": ("int64", 8),
    "U64": ("uint64", 8),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
_FROM_SAFETENSORS = {code: name for code, (name, _) in _SAFETENSORS.items()}
_TO_SAFETENSORS = {name: code for code, (name, _) in _SAFETENSORS.items()}
_SIZES = dict(_SAFETENSORS.values())

#: The types that an output can have.
OUTPUT_DTYPES = ("bfloat16", "float32", "float16")
#: The types that weights can be stored as; anything else is quantized.
WEIGHT_DTYPES = (*OUTPUT_DTYPES, "float64")
#: For each type, the types whose values it can all represent.
_HELD = {"float32": ("bfloat16", "float16")}
#: The types of the elements of scaled blocks, and of the scales.
FLOAT8_DTYPES = ("float8_e4m3fn", "float8_e5m2")
SCALE_DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e8m0fnu", "uint8")
#: How a number of a few bits is encoded, and the 8-bit types that have all of these numbers.
PackedEncoding = Literal["unsigned", "offset", "e2m1"]
PACKED_DTYPES: Mapping[PackedEncoding, str] = {
    "unsigned": "uint8",
    "offset": "int8",
    "e2m1": "float8_e4m3fn",
}


def is_dtype(name: str) -> bool:
    """Whether there is a type of that name."""
    return name in _SIZES


def dtype_size(dtype: str) -> int:
    """The size of an element, in bytes."""
    return _SIZES[dtype]


def tensor_bytes(dtype: str, shape: Sequence[int]) -> int:
    """The size of a tensor without gaps, in bytes."""
    return math.prod(shape) * dtype_size(dtype)


def lossy_cast_from(stored: Collection[str], dtype: str) -> str | None:
    """The type that can represent all values of weights, if casting them loses some.

    Returns:
        The type; ``None`` if the cast preserves all values.
    """
    if set(stored) <= {dtype, *_HELD.get(dtype, ())}:
        return None
    if len(set(stored)) == 1:
        return next(iter(stored))
    return "float64" if "float64" in stored else "float32"


def from_safetensors(code: str) -> str | None:
    """The name for a safetensors code, or ``None`` for an unknown one."""
    return _FROM_SAFETENSORS.get(code)


def to_safetensors(dtype: str) -> str:
    """The safetensors code for a name."""
    return _TO_SAFETENSORS[dtype]


def from_torch(dtype: "torch.dtype") -> str:
    """The name of a torch dtype."""
    return str(dtype).removeprefix("torch.")


def to_torch(dtype: str) -> "torch.dtype":
    """The torch dtype of a name."""
    import torch

    resolved = getattr(torch, dtype, None)
    if not isinstance(resolved, torch.dtype):
        raise OptionError(f"'{dtype}' is not a data type that torch knows.")
    return resolved


def config_dtype(value: Any) -> str | None:
    """The name in a config's ``dtype`` or ``torch_dtype``: ``"float16"``, ``"torch.float16"``."""
    if not isinstance(value, str) or value == "auto":
        return None
    return value.removeprefix("torch.")
