"""Loads a quantized model for a check, dequantized by transformers if possible."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.models.loading import load_model, load_tensors
from forgather_convert.models.merged_parameters import can_note_merges
from forgather_convert.models.model import Note, ignore
from forgather_convert.quantization.description import Dequantizer
from forgather_convert.quantization.fp8 import is_read_by_transformers
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import TensorRef


def load_dequantized(
    model_class: Any,
    config: Any,
    directory: Path,
    state: Mapping[str, Expression],
    parameters: Callable[[], ModelParameters],
    dequantizer: Dequantizer,
    stored_tensors: Mapping[str, TensorRef],
    note: Note = ignore,
) -> Any:
    """Loads a model like a user who has transformers dequantize it.

    If the installed transformers cannot do that, or deviates from the format, the values computed
    by this tool are used; the check then compares names and code, but not these values.

    Args:
        model_class: The class that the model's users load it with.
        config: Its config object, without what it says of quantized weights.
        directory: The directory with its weights.
        state: The weights by the names that the model expects, dequantized.
        parameters: Gives what its checkpoints hold.
        dequantizer: What dequantized them.
        stored_tensors: All tensors in its files.
        note: Receives a remark if transformers cannot do it.

    Raises:
        ValidationError: It does not load.
    """
    is_read = all(is_read_by_transformers(value) for value in state.values())
    if dequantizer.loading_fields is None or not is_read or not can_note_merges():
        # transformers 4 dequantizes MXFP4, but the whole model at once, and does not support FP8.
        note(
            "The installed transformers does not dequantize the source's weights; their "
            "dequantized values were computed in the same way for the check and the result."
        )
        return load_tensors(model_class, config, directory, state)
    quantized = copy.deepcopy(config)
    quantized.quantization_config = dict(dequantizer.loading_fields)
    return load_model(
        model_class, quantized, directory, state, parameters, stored_tensors, note=note
    )
