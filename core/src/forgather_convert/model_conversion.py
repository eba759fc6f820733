"""What ``forgather.ml.model_conversion`` is for converter files: the names that they import."""

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    RopeParameters,
    SourceConfig,
    UnsupportedModelError,
    concatenate,
    permute_heads,
    register_converter,
    split,
    stack,
    stacked_experts,
    transpose,
    unstack,
)

__all__ = [
    "STANDARD_HYPERPARAMETERS",
    "STANDARD_WEIGHT_MAPPING",
    "HFConverter",
    "RopeParameters",
    "SourceConfig",
    "UnsupportedModelError",
    "concatenate",
    "permute_heads",
    "register_converter",
    "split",
    "stack",
    "stacked_experts",
    "transpose",
    "unstack",
]
