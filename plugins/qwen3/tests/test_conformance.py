"""Qwen3 passes the standard tests, with windows and the size of heads that its class gives."""

from forgather_convert.testing import TINY_DECODER, ConverterConformance
from forgather_convert_qwen3 import Qwen3Converter

_SMALL = {**TINY_DECODER, "head_dim": 16}
_WINDOWS = {**_SMALL, "use_sliding_window": True, "sliding_window": 8}


class TestQwen3(ConverterConformance):
    converter_class = Qwen3Converter
    configs = {
        "plain": _SMALL,
        "tied": {**_SMALL, "tie_word_embeddings": True},
        # It means 128.
        "missing-head-dim": TINY_DECODER,
        "attention-bias": {**_SMALL, "attention_bias": True},
        "windows-by-layer-types": {
            **_WINDOWS,
            "max_window_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    }
