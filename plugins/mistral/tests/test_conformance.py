"""Mistral passes the standard tests, with and without its window."""

from forgather_convert.testing import TINY_DECODER, ConverterConformance
from forgather_convert_mistral import MistralConverter

_WINDOW = {**TINY_DECODER, "sliding_window": 8}


class TestMistral(ConverterConformance):
    converter_class = MistralConverter
    configs = {
        "window": _WINDOW,
        "null-window": {**TINY_DECODER, "sliding_window": None},
        # It means a window of 4096.
        "missing-window": TINY_DECODER,
        "tied": {**_WINDOW, "tie_word_embeddings": True},
        "head-dim": {**_WINDOW, "head_dim": 32},
        "null-head-dim": {**_WINDOW, "head_dim": None},
        "yarn": {
            **_WINDOW,
            "head_dim": 16,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    }
