"""Phi-3 passes the standard tests: fused tensors, unfused in the Forgather model."""

from pathlib import Path

from forgather_convert.testing import (
    TINY_DECODER,
    ConverterConformance,
    expected_failure,
    scanned_converter,
)

_CONFIG = {**TINY_DECODER, "original_max_position_embeddings": 32}


def _longrope(rotary_pairs: int) -> dict[str, object]:
    return {
        "type": "longrope",
        "short_factor": [1.0 + 0.1 * index for index in range(rotary_pairs)],
        "long_factor": [2.0 + 0.5 * index for index in range(rotary_pairs)],
    }


class TestPhi3(ConverterConformance):
    converter_class = scanned_converter(Path(__file__).parents[1] / "src", "phi3")
    configs = {
        "plain": _CONFIG,
        "tied": {**_CONFIG, "tie_word_embeddings": True},
        "window": {**_CONFIG, "sliding_window": 8},
        "longrope": {**_CONFIG, "rope_scaling": _longrope(8)},
        "partial": {**_CONFIG, "partial_rotary_factor": 0.75},
        "partial-longrope": {
            **_CONFIG,
            "partial_rotary_factor": 0.5,
            "rope_scaling": _longrope(4),
        },
    }
    test_gradients = expected_failure(
        ConverterConformance.test_gradients,
        reason="the gradient of a fused projection's input is one sum, not the sum of three",
    )
