"""Jamba: state spaces in most layers, attention without positions in others, and experts."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import (
    STANDARD,
    HFConverter,
    SourceConfig,
    gated_feedforward,
    stacked_experts,
)


class Jamba(HFConverter):
    """Jamba, with experts or without."""

    model_type = "jamba"
    hf_model = "JambaForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    has_rope = False
    needs_transformers = "5.16"
    hyperparameters = (
        *STANDARD,
        "attn_layer_period",
        "attn_layer_offset",
        "expert_layer_period",
        "expert_layer_offset",
        "num_experts",
        "num_experts_per_tok",
        "output_router_logits",
        "router_aux_loss_coef",
        "mamba_d_state",
        "mamba_d_conv",
        "mamba_expand",
        "mamba_dt_rank",
        "mamba_conv_bias",
        "mamba_proj_bias",
        "use_mamba_kernels",
        "use_mambapy",
        "use_associative_scan",
    )
    layer_weights = {
        "pre_ff_layernorm": "norm2",
        **gated_feedforward("feed_forward"),
        "feed_forward.router": "feedforward.router",
        "mamba.conv1d": "mixer.conv1d",
        "mamba.in_proj": "mixer.in_proj",
        "mamba.x_proj": "mixer.x_proj",
        "mamba.dt_proj": "mixer.dt_proj",
        "mamba.out_proj": "mixer.out_proj",
        "mamba.dt_layernorm": "mixer.dt_layernorm",
        "mamba.b_layernorm": "mixer.b_layernorm",
        "mamba.c_layernorm": "mixer.c_layernorm",
    }
    layer_tensors = {
        "mamba.A_log": "mixer.A_log",
        "mamba.D": "mixer.D",
        **stacked_experts("feed_forward.experts.{expert}"),
    }
    model_weights = {"model.final_layernorm": "causal_lm.layer_stack.layer_norm"}
    components = {
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "layer": {
            "full_attention": "pre_norm_layer:PreNormLayer",
            "linear_attention": "pre_norm_mixer_layer:PreNormMixerLayer",
        },
        "mixer": "jamba_state_space:JambaStateSpace",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:MixtureOfExperts",
        },
    }

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        project: Any = super().create_project_config(src_config, max_length)
        # Older versions of transformers do not have them, but later ones compute with them.
        added = {"use_mambapy": False, "use_associative_scan": True}
        return {**project, "config": {**added, **project["config"]}}

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layers = range(config.num_hidden_layers)
        has_attention = _every(config, "attn_layer", 8, 4)
        has_experts = _every(config, "expert_layer", 2, 1)
        if config.get("num_experts", 16) == 1:
            has_experts = frozenset()
        return {
            "layer_types": [
                "full_attention" if layer in has_attention else "linear_attention"
                for layer in layers
            ],
            "mlp_layer_types": ["sparse" if layer in has_experts else "dense" for layer in layers],
            "norm_topk_prob": False,
        }


def _every(config: SourceConfig, name: str, period: int, offset: int) -> frozenset[int]:
    """The numbers of the layers that a config describes by a period and an offset."""
    period = config.get(f"{name}_period", period)
    offset = config.get(f"{name}_offset", offset)
    return frozenset(range(offset, config.num_hidden_layers, period))
