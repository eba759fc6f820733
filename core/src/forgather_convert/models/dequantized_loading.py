"""Loads a quantized model for a check, dequantized by transformers if possible."""

import copy
from dataclasses import replace
from typing import Any

from forgather_convert.models.loading import StoredModel, load_model
from forgather_convert.models.merged_parameters import can_note_merges
from forgather_convert.models.model import Note, ignore
from forgather_convert.quantization.description import Dequantizer
from forgather_convert.quantization.fp8 import is_read_by_transformers


def load_dequantized(
    stored_model: StoredModel, dequantizer: Dequantizer, note: Note = ignore
) -> Any:
    """Loads a model like a user who has transformers dequantize it.

    If the installed transformers cannot do that, or deviates from the format, the values computed
    by this tool are used; the check then compares names and code, but not these values.

    Args:
        stored_model: The model; its config object says nothing of quantized weights, and its
            tensors by their current names are dequantized.
        dequantizer: What dequantized them.
        note: Receives a remark if transformers cannot do it.

    Raises:
        ValidationError: It does not load.
    """
    is_read = all(is_read_by_transformers(value) for value in stored_model.state.values())
    if dequantizer.loading_fields is None or not is_read or not can_note_merges():
        # transformers 4 dequantizes MXFP4, but the whole model at once, and does not support FP8.
        note(
            "The installed transformers does not dequantize the source's weights; their "
            "dequantized values were computed in the same way for the check and the result."
        )
        return stored_model.load_tensors()
    quantized = copy.deepcopy(stored_model.config)
    quantized.quantization_config = dict(dequantizer.loading_fields)
    return load_model(replace(stored_model, config=quantized), note)
