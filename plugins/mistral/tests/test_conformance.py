"""Mistral passes the standard tests, with its window in the forms that configs have."""

from forgather_convert.testing import TINY_DECODER, ConverterConformance
from forgather_convert_mistral import MistralConverter

_WINDOW = {**TINY_DECODER, "sliding_window": 8}


class TestMistral(ConverterConformance):
    converter_class = MistralConverter
    configs = {
        "window": _WINDOW,
        # It means a window of 4096.
        "missing-window": TINY_DECODER,
        "tied": {**_WINDOW, "tie_word_embeddings": True},
        "null-head-dim": {**_WINDOW, "head_dim": None},
    }
