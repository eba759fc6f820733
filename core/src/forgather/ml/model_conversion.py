"""The import path under which converters know this library.

It lies in a directory without ``__init__.py``, beside whatever else is installed as
``forgather``.
"""

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
