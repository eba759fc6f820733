"""Tensors as values: what each is made of, and the mappings between the two sides' names."""

from forgather_convert.tensors.expert_mapping import stacked_experts
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.notation import (
    Step,
    WeightMappingDict,
    concatenate,
    deinterleave,
    permute_heads,
    split,
    stack,
    transpose,
    unstack,
)
from forgather_convert.tensors.weight_mapping import STANDARD_WEIGHT_MAPPING, WeightMapping

__all__ = [
    "STANDARD_WEIGHT_MAPPING",
    "Step",
    "WeightMapping",
    "WeightMappingDict",
    "collapse_names",
    "concatenate",
    "deinterleave",
    "permute_heads",
    "split",
    "stack",
    "stacked_experts",
    "transpose",
    "unstack",
]
