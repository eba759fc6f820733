"""OLMo 2: norms behind the blocks and over whole projections, in float32 like the rotation."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    RopeParameters,
    WeightMappingDict,
)

_HF = "model.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"


class Olmo2(HFConverter):
    """OLMo 2."""

    model_type = "olmo2"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias")
    weight_mapping: ClassVar[WeightMappingDict] = {
        **{
            hf: fg
            for hf, fg in STANDARD_WEIGHT_MAPPING.items()
            if hf != f"{_HF}.input_layernorm.weight"
        },
        f"{_HF}.post_attention_layernorm.weight": f"{_FG}.norm1.weight",
        f"{_HF}.post_feedforward_layernorm.weight": f"{_FG}.norm2.weight",
    }
    components: ClassVar[Mapping[str, str]] = {
        "attention": "projection_norm_attention:ProjectionNormAttention",
        "layer": "post_norm_layer:PostNormLayer",
        "norm": "rms_norm:WideRMSNorm",
        "positional_encoding": "wide_rotary_embedding:WideRotaryEmbedding",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Olmo2ForCausalLM

        return Olmo2ForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Gives exactly two keys to transformers 4, which knows two types only."""
        if rope.rope_type not in ("linear", "dynamic"):
            return rope.to_fields()
        return {
            **rope.to_fields(),
            "rope_scaling": {"type": rope.rope_type, "factor": float(rope.options["factor"])},
        }
