"""Falcon-H1: attention and a state space side by side in each layer, and many factors."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, gated_feedforward


class FalconH1(HFConverter):
    """Falcon-H1."""

    model_type = "falcon_h1"
    hf_model = "FalconH1ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    needs_transformers = "5.23"
    field_names = {"lm_head_multiplier": "logit_scale"}
    hyperparameters = STANDARD + (
        *field_names,
        "attention_bias",
        "mlp_bias",
        "projectors_bias",
        "embedding_multiplier",
        "attention_in_multiplier",
        "attention_out_multiplier",
        "key_multiplier",
        "mlp_multipliers",
        "ssm_in_multiplier",
        "ssm_out_multiplier",
        "ssm_multipliers",
        "mamba_d_ssm",
        "mamba_n_heads",
        "mamba_d_head",
        "mamba_n_groups",
        "mamba_d_state",
        "mamba_d_conv",
        "mamba_expand",
        "mamba_chunk_size",
        "mamba_conv_bias",
        "mamba_proj_bias",
        "mamba_norm_before_gate",
        "mamba_rms_norm",
        "time_step_limit",
    )
    layer_weights = {
        "pre_ff_layernorm": "norm2",
        **gated_feedforward("feed_forward"),
        "mamba.conv1d": "mixer.conv1d",
        "mamba.in_proj": "mixer.in_proj",
        "mamba.norm": "mixer.norm",
        "mamba.out_proj": "mixer.out_proj",
    }
    layer_tensors = {
        "mamba.A_log": "mixer.A_log",
        "mamba.D": "mixer.D",
        "mamba.dt_bias": "mixer.dt_bias",
    }
    model_weights = {"model.final_layernorm": "causal_lm.layer_stack.layer_norm"}
    components = {
        "input_encoder": "scaled_token_encoder:ScaledTokenEncoder",
        "layer": "hybrid_layer:HybridLayer",
        "attention": "scaled_key_attention:ScaledKeyAttention",
        "mixer": "scaled_state_space:ScaledStateSpace",
        "feedforward": "scaled_feedforward:ScaledFeedforward",
        "head": "scaled_head:ScaledHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {"layer_types": ["hybrid"] * config.num_hidden_layers}
