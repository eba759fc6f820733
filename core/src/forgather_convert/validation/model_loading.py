"""Loads the two sides of a conversion as models, each from its own directory."""

from pathlib import Path
from typing import Any

from forgather_convert.planning.request import PlannedConversion
from forgather_convert.tensors.dtypes import to_torch


def load_source(planned: PlannedConversion, device: str) -> Any:
    """Loads the source in the dtype of the result."""
    model = planned.source.load(planned.source_state)
    return _as_run(model, planned.plan.dtype, device)


def load_result(planned: PlannedConversion, directory: Path, device: str) -> Any:
    """Loads the written result.

    Raises:
        ValidationError: It does not load.
    """
    return _as_run(planned.destination.load(directory), planned.plan.dtype, device)


def _as_run(model: Any, dtype: str, device: str) -> Any:
    """Casts the parameters; buffers, such as those of RoPE, keep the dtype that they have."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(to_torch(dtype))
    return model.to(device)
