"""FlexOlmo passes the standard tests, loaded as the directory scanner loads it."""

from pathlib import Path

from forgather_convert.testing import TINY_DECODER, ConverterConformance, scanned_converter

_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "num_experts": 5, "num_experts_per_tok": 2}


class TestFlexOlmo(ConverterConformance):
    converter_class = scanned_converter(Path(__file__).parents[1] / "src", "flex_olmo")
    configs = {
        "plain": _EXPERTS,
        "options-tied": {
            **_EXPERTS,
            "norm_topk_prob": True,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    }
