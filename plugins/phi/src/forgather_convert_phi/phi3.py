"""Phi-3: fused projections, and a rotary embedding with options that its config class limits."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, RopeParameters, without


class Phi3(HFConverter):
    """Phi-3, Phi-3.5 and Phi-4-mini."""

    model_type = "phi3"
    hf_model = "Phi3ForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = without(STANDARD, "head_dim") + (
        "sliding_window",
        "partial_rotary_factor",
        "original_max_position_embeddings",
        "resid_pdrop",
        "embd_pdrop",
    )
    field_names = {"resid_pdrop": "layer_dropout"}
    layer_weights = {
        "self_attn.qkv_proj": "attention.qkv_linear",
        "mlp.gate_up_proj": "feedforward.gate_up_proj",
    }
    components = {
        "attention": "fused_attention:FusedAttention",
        "feedforward": "fused_gated_feedforward:FusedGatedFeedforward",
    }

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Returns exactly three keys, as transformers 4 requires, and the rest separately."""
        if rope.rope_type not in ("default", "longrope"):
            # The config class will refuse it.
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
