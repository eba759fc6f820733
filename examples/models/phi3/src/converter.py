"""Phi-3: fused projections, rotary embeddings over a part of each head, and LongRoPE."""

from typing import Any

from forgather.ml.model_conversion import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    RopeParameters,
    SourceConfig,
    UnsupportedModelError,
    register_converter,
    split,
)

_HF = "model.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"
_ATTENTION = f"{_FG}.attention"
_FEEDFORWARD = f"{_FG}.feedforward"
_FUSED = {
    f"{_HF}.self_attn.qkv_proj.weight": split(
        f"{_ATTENTION}.query_linear.weight",
        f"{_ATTENTION}.key_linear.weight",
        f"{_ATTENTION}.value_linear.weight",
    ),
    f"{_HF}.mlp.gate_up_proj.weight": split(
        f"{_FEEDFORWARD}.gate_proj.weight", f"{_FEEDFORWARD}.up_proj.weight"
    ),
}
_PARTS = {name for fused in _FUSED.values() for name in fused.names}
_MAPPING = {
    **{hf: fg for hf, fg in STANDARD_WEIGHT_MAPPING.items() if fg not in _PARTS},
    **_FUSED,
}
_DROPOUTS = ("resid_pdrop", "embd_pdrop")


@register_converter("phi3")
class Phi3Converter(HFConverter):
    """Converts Phi-3 and Phi-4-mini; the Forgather model has the projections apart."""

    model_type = "phi3"
    tokenizer_class = "LlamaTokenizer"
    weight_mapping = _MAPPING
    hyperparameters = (
        *(name for name in STANDARD_HYPERPARAMETERS if name != "head_dim"),
        "sliding_window",
        "partial_rotary_factor",
        "original_max_position_embeddings",
        *_DROPOUTS,
    )

    def get_hf_model_class(self) -> Any:
        from transformers import Phi3ForCausalLM

        return Phi3ForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> dict[str, Any]:
        """Gives exactly three keys, as transformers 4 wants them, and the rest beside."""
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

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        for name in _DROPOUTS:
            if src_config.get(name):
                raise UnsupportedModelError(
                    f"In {src_config.origin}, '{name}' is {src_config[name]!r}; the Forgather "
                    "model has no dropout there, so that it must be 0."
                )
