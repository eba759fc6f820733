"""Cohere2: parallel blocks after one layer norm, and positions only in layers with windows."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, UnsupportedModelError


class Cohere2(HFConverter):
    """Command R7B, Command A and the other text models of their architecture."""

    model_type = "cohere2"
    hf_model = "Cohere2ForCausalLM"
    tokenizer_class = "CohereTokenizerFast"
    hyperparameters = STANDARD + (
        "layer_norm_eps",
        "logit_scale",
        "attention_bias",
        "sliding_window",
        "layer_types",
    )
    components = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "layer": "parallel_layer:ParallelLayer",
        "attention": "wide_interleaved_attention:WideInterleavedAttention",
        "norm": "wide_layer_norm:WideLayerNorm",
        "head": "scaled_head:ScaledHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layer_types = config.get("layer_types")
        if layer_types is None:
            return {}
        return {"no_rope_layers": [int(kind == "sliding_attention") for kind in layer_types]}

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if "sliding_window" in src_config and src_config["sliding_window"] is None:
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'sliding_window' is null, which transformers does not "
                "support for Cohere2. Give a number."
            )
