"""Gemma 3, text: sandwich norms, normalised heads, and RoPE and windows by kind of layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    WeightMappingDict,
)

_HF = "model.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"


class Gemma3Text(HFConverter):
    """The text models of Gemma 3."""

    model_type = "gemma3_text"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = (
        *(name for name in STANDARD_HYPERPARAMETERS if name != "hidden_act"),
        "hidden_activation",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope_local_base_freq",
    )
    field_names: ClassVar[Mapping[str, str]] = {"hidden_activation": "hidden_act"}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **STANDARD_WEIGHT_MAPPING,
        f"{_HF}.pre_feedforward_layernorm.weight": f"{_FG}.norm3.weight",
        f"{_HF}.post_feedforward_layernorm.weight": f"{_FG}.norm4.weight",
    }
    components: ClassVar[Mapping[str, str]] = {
        "embedding": "token_embedding:ScaledTokenEmbedding",
        "layer": "sandwich_norm_layer:SandwichNormLayer",
        "attention": "gemma3_attention:Gemma3Attention",
        "norm": "rms_norm:ZeroCenteredRMSNorm",
        "head": "softcapped_head:SoftcappedHead",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Gemma3ForCausalLM

        return Gemma3ForCausalLM

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if src_config.get("use_bidirectional_attention"):
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'use_bidirectional_attention' is "
                f"{src_config['use_bidirectional_attention']!r}; a Forgather model attends to the "
                "past only, so that it must be false."
            )
