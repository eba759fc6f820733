"""Gemma 4, text: per-layer inputs, shared keys and values, and optionally experts."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, UnsupportedModelError, without

from .kv_sharing import kv_sharing_modes


class Gemma4Text(HFConverter):
    """The text models of Gemma 4, dense or with experts."""

    model_type = "gemma4_text"
    hf_model = "Gemma4ForCausalLM"
    needs_transformers = "5.23"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = without(STANDARD, "hidden_act") + (
        "hidden_activation",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "final_logit_softcapping",
        "rope_parameters",
        "per_layer_config",
        "attention_k_eq_v",
        "num_kv_shared_layers",
        "use_double_wide_mlp",
        "hidden_size_per_layer_input",
        "vocab_size_per_layer_input",
        "enable_moe_block",
        "num_experts",
        "top_k_experts",
        "moe_intermediate_size",
    )
    field_names = {
        "hidden_activation": "hidden_act",
        "top_k_experts": "num_experts_per_tok",
        "per_layer_config": "layer_overrides",
    }
    model_weights = {
        "model.embed_tokens_per_layer": "causal_lm.input_encoder.per_layer_embedding",
        "model.per_layer_model_projection": "causal_lm.input_encoder.per_layer_projection",
        "model.per_layer_projection_norm": "causal_lm.input_encoder.per_layer_norm",
    }
    layer_weights = {
        "pre_feedforward_layernorm": "norm3",
        "post_feedforward_layernorm": "norm4",
        "per_layer_input_gate": "own_input.gate",
        "per_layer_projection": "own_input.projection",
        "post_per_layer_input_norm": "own_input.norm",
        "post_feedforward_layernorm_1": "sparse.dense_norm",
        "pre_feedforward_layernorm_2": "sparse.norm1",
        "post_feedforward_layernorm_2": "sparse.norm2",
        "router.proj": "sparse.router.linear",
    }
    layer_tensors = {
        "layer_scalar": "scale",
        "router.scale": "sparse.router.scale",
        "router.per_expert_scale": "sparse.router.expert_scale",
        "experts.gate_up_proj": "sparse.experts.gate_up_proj",
        "experts.down_proj": "sparse.experts.down_proj",
    }
    components = {
        "embedding": "token_embedding:ScaledTokenEmbedding",
        "input_encoder": "per_layer_input_encoder:PerLayerInputEncoder",
        "layer_stack": "sharing_layer_stack:SharingLayerStack",
        "layer": "gemma4_layer:Gemma4Layer",
        "attention": "sharing_attention:SharingAttention",
        "feedforward": "sharing_feedforward:SharingFeedforward",
        "norm": "power_rms_norm:PowerRMSNorm",
        "head": "softcapped_head:SoftcappedHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        modes = kv_sharing_modes(config)
        return {"attention_multiplier": 1.0, **({"kv_sharing_modes": modes} if modes else {})}

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        super().validate_source_config(src_config, direction)
        # "vision" concerns the tokens of images only.
        if src_config.get("use_bidirectional_attention") == "all":
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'use_bidirectional_attention' is 'all'. A Forgather "
                "model attends to the past only."
            )
