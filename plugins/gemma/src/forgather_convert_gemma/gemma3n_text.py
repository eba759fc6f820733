"""Gemma 3n, text: several streams of hidden states, per-layer inputs, shared keys and values."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, without

from .gemma4_text import Gemma4Text
from .kv_sharing import kv_sharing_modes


class Gemma3nText(HFConverter):
    """The text models of Gemma 3n."""

    model_type = "gemma3n_text"
    hf_model = "Gemma3nForCausalLM"
    needs_transformers = "5.22"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = without(STANDARD, "hidden_act") + (
        "hidden_activation",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "rope_local_base_freq",
        "final_logit_softcapping",
        "num_kv_shared_layers",
        "hidden_size_per_layer_input",
        "vocab_size_per_layer_input",
        "altup_num_inputs",
        "altup_active_idx",
        "altup_coef_clip",
        "altup_correct_scale",
        "laurel_rank",
        "activation_sparsity_pattern",
    )
    field_names = {"hidden_activation": "hidden_act"}
    model_weights = {
        **Gemma4Text.model_weights,
        "model.altup_projections.{stream}": "causal_lm.layer_stack.split_projections.{stream}",
        "model.altup_unembed_projections.{stream}": (
            "causal_lm.layer_stack.merge_projections.{stream}"
        ),
    }
    layer_weights = {
        "pre_feedforward_layernorm": "norm3",
        "post_feedforward_layernorm": "norm4",
        "per_layer_input_gate": "own_input.gate",
        "per_layer_projection": "own_input.projection",
        "post_per_layer_input_norm": "own_input.norm",
        "laurel.linear_left": "low_rank.down",
        "laurel.linear_right": "low_rank.up",
        "laurel.post_laurel_norm": "low_rank.norm",
        "altup.router_norm": "altup.router_norm",
        "altup.modality_router": "altup.router",
        "altup.prediction_coefs": "altup.prediction",
        "altup.correction_coefs": "altup.correction",
    }
    layer_tensors = {"altup.correct_output_scale": "altup.output_scale"}
    components = {
        "embedding": "token_embedding:ScaledTokenEmbedding",
        "input_encoder": "lenient_per_layer_input_encoder:LenientPerLayerInputEncoder",
        "layer_stack": "altup_layer_stack:AltUpLayerStack",
        "layer": "gemma3n_layer:Gemma3nLayer",
        "attention": "sharing_attention:SharingAttention",
        "feedforward": "sparse_activation_feedforward:SparseActivationFeedforward",
        "norm": "power_rms_norm:PowerRMSNorm",
        "head": "softcapped_head:SoftcappedHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        modes = kv_sharing_modes(config)
        return {"attention_multiplier": 1.0, **({"kv_sharing_modes": modes} if modes else {})}
