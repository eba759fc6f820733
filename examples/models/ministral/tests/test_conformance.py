"""Ministral passes the standard tests, loaded as the directory scanner loads it."""

from pathlib import Path

from forgather_convert.testing import TINY_DECODER, ConverterConformance, scanned_converter


class TestMinistral(ConverterConformance):
    converter_class = scanned_converter(Path(__file__).parents[1] / "src", "ministral")
    configs = {
        "windows-in-all-layers": {**TINY_DECODER, "sliding_window": 8},
        "windows-by-layer-types-tied": {
            **TINY_DECODER,
            "tie_word_embeddings": True,
            "head_dim": 32,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    }
