"""Phi: both blocks of a layer get the same input, and a part of each head is rotated."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    RopeParameters,
    WeightMappingDict,
)

_NAMES = {
    "mlp.up_proj": "mlp.fc1",
    "mlp.down_proj": "mlp.fc2",
    "self_attn.o_proj": "self_attn.dense",
    "self_attn.q_norm": "self_attn.q_layernorm",
    "self_attn.k_norm": "self_attn.k_layernorm",
    "model.norm": "model.final_layernorm",
}


def _own_name(name: str) -> str:
    for standard, own in _NAMES.items():
        name = name.replace(standard, own)
    return name


class Phi(HFConverter):
    """Phi-1, Phi-1.5 and Phi-2."""

    model_type = "phi"
    tokenizer_class = "CodeGenTokenizer"
    hyperparameters = (
        *(name for name in STANDARD_HYPERPARAMETERS if name != "rms_norm_eps"),
        "layer_norm_eps",
        "qk_layernorm",
        "resid_pdrop",
        "embd_pdrop",
        "partial_rotary_factor",
    )
    field_names: ClassVar[Mapping[str, str]] = {
        "resid_pdrop": "layer_dropout",
        "embd_pdrop": "embedding_dropout",
    }
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {
        "attention_bias": True,
        "mlp_bias": True,
        "lm_head_bias": True,
    }
    weight_mapping: ClassVar[WeightMappingDict] = {
        _own_name(name): place for name, place in STANDARD_WEIGHT_MAPPING.items()
    }
    components: ClassVar[Mapping[str, str]] = {
        "norm": "layer_norm:LayerNorm",
        "feedforward": "feedforward:Feedforward",
        "layer": "phi_layer:PhiLayer",
        "attention": "phi_attention:PhiAttention",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import PhiForCausalLM

        return PhiForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        partial = rope.options.get("partial_rotary_factor", 1.0)
        return {**super().get_rope_fields(rope), "partial_rotary_factor": partial}
