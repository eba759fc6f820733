"""Llama passes the standard tests with every option and every RoPE type that it has."""

from forgather_convert.testing import TINY_DECODER, ConverterConformance
from forgather_convert_llama import LlamaConverter

_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


class TestLlama(ConverterConformance):
    converter_class = LlamaConverter
    configs = {
        "plain": TINY_DECODER,
        "tied": {**TINY_DECODER, "tie_word_embeddings": True},
        "biases": {**TINY_DECODER, "attention_bias": True, "mlp_bias": True},
        "head-dim": {**TINY_DECODER, "head_dim": 32, "num_key_value_heads": 1},
        "gelu-without-special-tokens": {
            **TINY_DECODER,
            "hidden_act": "gelu",
            "num_key_value_heads": 4,
            "pad_token_id": None,
            "bos_token_id": None,
        },
        "linear": {**TINY_DECODER, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        "dynamic": {
            **TINY_DECODER,
            "max_position_embeddings": 32,
            "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
        },
        "yarn": {**TINY_DECODER, "rope_scaling": _YARN},
        "yarn-options": {
            **TINY_DECODER,
            "rope_scaling": {
                **_YARN,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "mscale": 1.0,
                "mscale_all_dim": 0.8,
                "truncate": False,
            },
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
        "llama3": {
            **TINY_DECODER,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    }
