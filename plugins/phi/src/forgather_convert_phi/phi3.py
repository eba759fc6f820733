"""Phi-3: fused projections, rotary embeddings over a part of each head, and LongRoPE."""

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
_FUSED = {
    f"{_HF}.self_attn.qkv_proj.weight": f"{_FG}.attention.qkv_linear.weight",
    f"{_HF}.mlp.gate_up_proj.weight": f"{_FG}.feedforward.gate_up_proj.weight",
}
_PARTS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


class Phi3(HFConverter):
    """Phi-3, Phi-3.5 and Phi-4-mini."""

    model_type = "phi3"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (
        *(name for name in STANDARD_HYPERPARAMETERS if name != "head_dim"),
        "sliding_window",
        "partial_rotary_factor",
        "original_max_position_embeddings",
        "resid_pdrop",
        "embd_pdrop",
    )
    field_names: ClassVar[Mapping[str, str]] = {"resid_pdrop": "layer_dropout"}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **{
            hf: fg
            for hf, fg in STANDARD_WEIGHT_MAPPING.items()
            if not any(f".{part}." in hf for part in _PARTS)
        },
        **_FUSED,
    }
    components: ClassVar[Mapping[str, str]] = {
        "attention": "fused_attention:FusedAttention",
        "feedforward": "fused_gated_feedforward:FusedGatedFeedforward",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Phi3ForCausalLM

        return Phi3ForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Gives exactly three keys, as transformers 4 wants them, and the rest beside."""
        if rope.rope_type not in ("default", "longrope"):
            # For the config class to refuse.
            return rope.to_fields()
        options = dict(rope.options)
        fields: dict[str, Any] = {
            "rope_theta": rope.theta,
            "partial_rotary_factor": options.pop("partial_rotary_factor", 1.0),
            "rope_scaling": None,
            "rope_parameters": None,
        }
        if rope.rope_type == "longrope":
            fields["original_max_position_embeddings"] = options["original_max_position_embeddings"]
            fields["rope_scaling"] = {
                "type": "longrope",
                "short_factor": options["short_factor"],
                "long_factor": options["long_factor"],
            }
        return fields
