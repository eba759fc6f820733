"""Qwen3 passes the standard tests, with its windows in every form that configs have."""

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
        "windows-by-max-window-layers": {**_WINDOWS, "max_window_layers": 1},
        "windows-by-layer-types": {
            **_WINDOWS,
            "max_window_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "windows-off": {**_SMALL, "use_sliding_window": False, "sliding_window": 8},
        "yarn": {
            **_SMALL,
            "rope_theta": 1000000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    }
