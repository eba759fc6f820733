"""OLMo 2: norms after the blocks and over whole projections, in float32 like the rotation."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, RopeParameters


class Olmo2(HFConverter):
    """OLMo 2."""

    model_type = "olmo2"
    hf_model = "Olmo2ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("attention_bias",)
    layer_weights = {
        "post_attention_layernorm": "norm1",
        "post_feedforward_layernorm": "norm2",
    }
    components = {
        "attention": "projection_norm_attention:ProjectionNormAttention",
        "layer": "post_norm_layer:PostNormLayer",
        "norm": "rms_norm:WideRMSNorm",
        "positional_encoding": "rotary_embedding:WideRotaryEmbedding",
    }

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Returns exactly two keys for transformers 4, which knows only two types."""
        if rope.rope_type not in ("linear", "dynamic"):
            return rope.to_fields()
        return {
            **rope.to_fields(),
            "rope_scaling": {"type": rope.rope_type, "factor": float(rope.options["factor"])},
        }
