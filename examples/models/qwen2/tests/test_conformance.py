"""Qwen2 passes the standard tests, loaded as the directory scanner loads it."""

from pathlib import Path

from forgather_convert.testing import TINY_DECODER, ConverterConformance, scanned_converter

_WINDOWS = {**TINY_DECODER, "use_sliding_window": True, "sliding_window": 8}


class TestQwen2(ConverterConformance):
    converter_class = scanned_converter(Path(__file__).parents[1] / "src", "qwen2")
    configs = {
        "plain": TINY_DECODER,
        "tied": {**TINY_DECODER, "tie_word_embeddings": True},
        "head-dim": {**TINY_DECODER, "head_dim": 32},
        "windows-by-max-window-layers": {**_WINDOWS, "max_window_layers": 1},
        "windows-by-layer-types": {
            **_WINDOWS,
            "max_window_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "windows-off": {**_WINDOWS, "use_sliding_window": False, "max_window_layers": 0},
        "yarn": {
            **TINY_DECODER,
            "rope_theta": 1000000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    }
