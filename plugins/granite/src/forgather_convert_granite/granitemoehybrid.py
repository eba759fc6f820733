"""Granite with state spaces in most layers and attention in the others."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import SourceConfig

from .granitemoeshared import GraniteMoeShared


class GraniteMoeHybrid(GraniteMoeShared):
    """The Granite 4 models, with experts or without."""

    model_type = "granitemoehybrid"
    hf_model = "GraniteMoeHybridForCausalLM"
    needs_transformers = "5.16"
    hyperparameters = (
        *GraniteMoeShared.hyperparameters,
        "layer_types",
        "position_embedding_type",
        "mamba_n_heads",
        "mamba_n_groups",
        "mamba_d_state",
        "mamba_d_head",
        "mamba_d_conv",
        "mamba_expand",
        "mamba_chunk_size",
        "mamba_conv_bias",
        "mamba_proj_bias",
        "time_step_limit",
    )
    layer_weights = {
        **GraniteMoeShared.layer_weights,
        "mamba.conv1d": "mixer.conv1d",
        "mamba.in_proj": "mixer.in_proj",
        "mamba.norm": "mixer.norm",
        "mamba.out_proj": "mixer.out_proj",
    }
    layer_tensors = {
        **GraniteMoeShared.layer_tensors,
        "mamba.A_log": "mixer.A_log",
        "mamba.D": "mixer.D",
        "mamba.dt_bias": "mixer.dt_bias",
    }

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        """Has positions, and experts, only if the config says so."""
        project: Any = super().create_project_config(src_config, max_length)
        components: dict[str, str | Mapping[str, str]] = {
            **project["components"],
            "layer": {
                "full_attention": "pre_norm_layer:PreNormLayer",
                "linear_attention": "pre_norm_mixer_layer:PreNormMixerLayer",
            },
            "mixer": "granite_state_space:GraniteStateSpace",
            "feedforward": "shared_granite_experts:SharedGraniteExperts",
        }
        if not src_config.get("num_local_experts"):
            components["feedforward"] = "shared_granite_experts:SharedGraniteExpert"
        if src_config.get("position_embedding_type") != "rope":
            components["positional_encoding"] = "no_positional_encoding:NoPositionalEncoding"
        return {**project, "components": components}
