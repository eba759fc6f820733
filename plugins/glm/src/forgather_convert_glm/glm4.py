"""GLM-4: norms around both blocks, a fused gate, and rotations of a part of each head."""

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
_APART = tuple(f"{_HF}.mlp.{name}_proj." for name in ("gate", "up"))


class Glm4(HFConverter):
    """The dense GLM-4-0414 models."""

    model_type = "glm4"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias", "partial_rotary_factor")
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {"attention_output_bias": False}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **{hf: fg for hf, fg in STANDARD_WEIGHT_MAPPING.items() if not hf.startswith(_APART)},
        f"{_HF}.mlp.gate_up_proj.weight": f"{_FG}.feedforward.gate_up_proj.weight",
        f"{_HF}.post_self_attn_layernorm.weight": f"{_FG}.norm2.weight",
        # It is before the feed-forward, not behind the attention.
        f"{_HF}.post_attention_layernorm.weight": f"{_FG}.norm3.weight",
        f"{_HF}.post_mlp_layernorm.weight": f"{_FG}.norm4.weight",
    }
    components: ClassVar[Mapping[str, str]] = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "layer": "sandwich_norm_layer:SandwichNormLayer",
        "attention": "interleaved_attention:InterleavedAttention",
        "feedforward": "fused_gated_feedforward:FusedGatedFeedforward",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Glm4ForCausalLM

        return Glm4ForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Says the rotated part beside the dictionaries too, where transformers 4 reads it."""
        part = rope.options.get("partial_rotary_factor", 1.0)
        return {**rope.to_fields(), "partial_rotary_factor": part}
