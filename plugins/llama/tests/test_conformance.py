"""Llama passes the standard tests. The other RoPE types are among the repository's own tests."""

from forgather_convert.testing import TINY_DECODER, ConverterConformance
from forgather_convert_llama import LlamaConverter


class TestLlama(ConverterConformance):
    converter_class = LlamaConverter
    configs = {
        "plain": TINY_DECODER,
        "tied": {**TINY_DECODER, "tie_word_embeddings": True},
        "biases": {**TINY_DECODER, "attention_bias": True, "mlp_bias": True},
        "dynamic": {
            **TINY_DECODER,
            "max_position_embeddings": 32,
            "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
        },
        "longrope": {
            **TINY_DECODER,
            "rope_scaling": {
                "rope_type": "longrope",
                "short_factor": [1.0 + 0.1 * i for i in range(8)],
                "long_factor": [2.0 + 0.5 * i for i in range(8)],
                "original_max_position_embeddings": 32,
            },
        },
    }
