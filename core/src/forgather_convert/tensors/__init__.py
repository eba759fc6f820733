"""Weight mappings: which Hugging Face tensors are which Forgather tensors."""

from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.notation import (
    Mapped,
    concatenate,
    permute_heads,
    split,
    stack,
    transpose,
    unstack,
)
from forgather_convert.tensors.weight_mapping import STANDARD_WEIGHT_MAPPING, WeightMapping

__all__ = [
    "STANDARD_WEIGHT_MAPPING",
    "Mapped",
    "WeightMapping",
    "collapse_names",
    "concatenate",
    "permute_heads",
    "split",
    "stack",
    "transpose",
    "unstack",
]
