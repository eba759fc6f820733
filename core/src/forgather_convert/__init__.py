"""Converts causal language models between Hugging Face and Forgather, losslessly.

``convert``, ``plan``, ``inspect`` and ``verify`` are the Python API; ``HFConverter`` is the base
class of converters. Names are imported when they are used: ``import forgather_convert`` loads
neither torch nor transformers.
"""

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].endswith("forgather_convert"):
    # Python has put the working directory first, for its `-m` and torchrun's, and imports this file
    # before any other. What is in that directory may come from anybody: a click.py there would run.
    import os

    # Not Path.cwd: pathlib may not be imported yet.
    if sys.path[:1] == [os.getcwd()] and not getattr(sys.flags, "safe_path", False):  # noqa: PTH109
        del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgather_convert.api import ConversionResult, convert, plan
    from forgather_convert.compare.result import Verification
    from forgather_convert.compare.verify import VerifyOptions, verify
    from forgather_convert.discovery.converter_files import register_converter
    from forgather_convert.dynamic_model.project import Project
    from forgather_convert.errors import (
        ConverterError,
        DestinationError,
        FlushError,
        ForgatherConvertError,
        MappingError,
        OptionError,
        ProcessError,
        ReportError,
        SourceError,
        UnsupportedModelError,
        ValidationError,
    )
    from forgather_convert.families.converter import HFConverter
    from forgather_convert.families.hookspecs import hookimpl
    from forgather_convert.families.hyperparameters import (
        STANDARD,
        STANDARD_HYPERPARAMETERS,
        WINDOWS,
        without,
    )
    from forgather_convert.families.mixtures_of_experts import (
        DeepseekDecoder,
        DeepseekExperts,
        sparse_layers_after,
        sparse_layers_by_step,
    )
    from forgather_convert.families.tiny_decoder import TINY_DECODER
    from forgather_convert.in_memory.callback import HFCheckpointCallback
    from forgather_convert.in_memory.loading import load_hf_weights
    from forgather_convert.in_memory.saving import save_as_hf
    from forgather_convert.in_memory.weights import hf_weights
    from forgather_convert.inspection.inspect import inspect
    from forgather_convert.inspection.result import Inspection
    from forgather_convert.options import ConvertOptions
    from forgather_convert.progress import Phase, Progress
    from forgather_convert.reporting.write import write_report
    from forgather_convert.source.config_file import SourceConfig
    from forgather_convert.source.rope import RopeParameters
    from forgather_convert.tensors.feedforward_mapping import gated_feedforward, stacked_experts
    from forgather_convert.tensors.notation import (
        WeightMappingDict,
        concatenate,
        deinterleave,
        permute_heads,
        split,
        stack,
        transpose,
        unstack,
    )
    from forgather_convert.tensors.tensor_ref import TensorRef
    from forgather_convert.tensors.weight_mapping import STANDARD_WEIGHT_MAPPING
    from forgather_convert.weights.checkpoint import Checkpoint

_EXPORTS = {
    "Checkpoint": "weights.checkpoint",
    "ConversionResult": "api",
    "Project": "dynamic_model.project",
    "TensorRef": "tensors.tensor_ref",
    "TINY_DECODER": "families.tiny_decoder",
    "Inspection": "inspection.result",
    "HFCheckpointCallback": "in_memory.callback",
    "hf_weights": "in_memory.weights",
    "load_hf_weights": "in_memory.loading",
    "save_as_hf": "in_memory.saving",
    "hookimpl": "families.hookspecs",
    "inspect": "inspection.inspect",
    "convert": "api",
    "plan": "api",
    "ConverterError": "errors",
    "DestinationError": "errors",
    "FlushError": "errors",
    "ForgatherConvertError": "errors",
    "MappingError": "errors",
    "OptionError": "errors",
    "ProcessError": "errors",
    "ReportError": "errors",
    "SourceError": "errors",
    "UnsupportedModelError": "errors",
    "ValidationError": "errors",
    "STANDARD_WEIGHT_MAPPING": "tensors.weight_mapping",
    "WeightMappingDict": "tensors.notation",
    "concatenate": "tensors.notation",
    "deinterleave": "tensors.notation",
    "permute_heads": "tensors.notation",
    "split": "tensors.notation",
    "stack": "tensors.notation",
    "gated_feedforward": "tensors.feedforward_mapping",
    "stacked_experts": "tensors.feedforward_mapping",
    "transpose": "tensors.notation",
    "unstack": "tensors.notation",
    "RopeParameters": "source.rope",
    "ConvertOptions": "options",
    "Phase": "progress",
    "Progress": "progress",
    "HFConverter": "families.converter",
    "STANDARD": "families.hyperparameters",
    "STANDARD_HYPERPARAMETERS": "families.hyperparameters",
    "WINDOWS": "families.hyperparameters",
    "without": "families.hyperparameters",
    "DeepseekDecoder": "families.mixtures_of_experts",
    "DeepseekExperts": "families.mixtures_of_experts",
    "sparse_layers_after": "families.mixtures_of_experts",
    "sparse_layers_by_step": "families.mixtures_of_experts",
    "register_converter": "discovery.converter_files",
    "SourceConfig": "source.config_file",
    "Verification": "compare.result",
    "VerifyOptions": "compare.verify",
    "verify": "compare.verify",
    "write_report": "reporting.write",
}

__all__ = [
    "STANDARD",
    "STANDARD_HYPERPARAMETERS",
    "STANDARD_WEIGHT_MAPPING",
    "TINY_DECODER",
    "WINDOWS",
    "Checkpoint",
    "ConversionResult",
    "ConvertOptions",
    "ConverterError",
    "DeepseekDecoder",
    "DeepseekExperts",
    "DestinationError",
    "FlushError",
    "ForgatherConvertError",
    "HFCheckpointCallback",
    "HFConverter",
    "Inspection",
    "MappingError",
    "OptionError",
    "Phase",
    "ProcessError",
    "Progress",
    "Project",
    "ReportError",
    "RopeParameters",
    "SourceConfig",
    "SourceError",
    "TensorRef",
    "UnsupportedModelError",
    "ValidationError",
    "Verification",
    "VerifyOptions",
    "WeightMappingDict",
    "concatenate",
    "convert",
    "deinterleave",
    "gated_feedforward",
    "hf_weights",
    "hookimpl",
    "inspect",
    "load_hf_weights",
    "permute_heads",
    "plan",
    "register_converter",
    "save_as_hf",
    "sparse_layers_after",
    "sparse_layers_by_step",
    "split",
    "stack",
    "stacked_experts",
    "transpose",
    "unstack",
    "verify",
    "without",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
