"""EXAONE 4: norms behind the blocks and over heads, and positions in layers with windows only."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig


class Exaone4(HFConverter):
    """EXAONE 4.0."""

    model_type = "exaone4"
    hf_model = "Exaone4ForCausalLM"
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = STANDARD + ("sliding_window", "sliding_window_pattern", "layer_types")
    layer_weights = {
        "post_attention_layernorm": "norm1",
        "post_feedforward_layernorm": "norm2",
    }
    components = {
        "layer": "post_norm_layer:PostNormLayer",
        "attention": "qk_norm_attention:TransposedQKNormAttention",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layer_types = config.get("layer_types")
        if layer_types is None or config.get("sliding_window") is None:
            return {}
        return {"no_rope_layers": [int(kind == "sliding_attention") for kind in layer_types]}
