"""Granite with experts, and a shared expert in each layer."""

from typing import Any

from forgather_convert import SourceConfig

from .granitemoe import GraniteMoe


class GraniteMoeShared(GraniteMoe):
    """Granite models with shared experts."""

    model_type = "granitemoeshared"
    hf_model = "GraniteMoeSharedForCausalLM"
    hyperparameters = (*GraniteMoe.hyperparameters, "shared_intermediate_size")
    layer_weights = {
        **GraniteMoe.layer_weights,
        "shared_mlp.input_linear": "feedforward.shared_expert.gate_up_proj",
        "shared_mlp.output_linear": "feedforward.shared_expert.down_proj",
    }
    components = {
        **GraniteMoe.components,
        "feedforward": "shared_granite_experts:SharedGraniteExperts",
    }

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        """Has no shared experts if they are of size 0."""
        project: Any = super().create_project_config(src_config, max_length)
        if src_config.get("shared_intermediate_size"):
            return project
        return {**project, "components": GraniteMoe.components}
