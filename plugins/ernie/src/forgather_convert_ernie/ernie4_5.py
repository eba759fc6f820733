"""ERNIE 4.5: the standard decoder with interleaved rotations in float32, and biases all or none."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, without


class Ernie45(HFConverter):
    """The dense ERNIE 4.5 models."""

    model_type = "ernie4_5"
    hf_model = "Ernie4_5ForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = without(STANDARD, "attention_dropout") + ("use_bias",)
    field_names = {"use_bias": "attention_bias"}
    components = {
        "positional_encoding": "rotary_embedding:WideInterleavedRotaryEmbedding",
        "attention": "ernie_attention:ErnieAttention",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        bias = config.get("use_bias", config.get("attention_bias", False))
        return {"mlp_bias": bool(bias), "attention_dropout": 0.0}
