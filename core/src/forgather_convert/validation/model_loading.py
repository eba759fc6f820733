"""Loads the result of a conversion from its own directory, to be used."""

from pathlib import Path
from typing import Any

from forgather_convert.planning.request import PlannedConversion
from forgather_convert.tensors.dtypes import to_torch


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
