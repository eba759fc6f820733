"""GLM-4 MoE: rotations of a part of each head, and experts chosen as in DeepSeek-V3."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import DeepseekExperts, SourceConfig


class Glm4Moe(DeepseekExperts):
    """GLM-4.5, GLM-4.6 and GLM-4.7, and the smaller GLM-4.5-Air."""

    model_type = "glm4_moe"
    hf_model = "Glm4MoeForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = DeepseekExperts.hyperparameters + ("partial_rotary_factor", "use_qk_norm")
    components = {
        **DeepseekExperts.components,
        "attention": "partly_rotated_norm_attention:PartlyRotatedNormAttention",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {**super().own_hyperparameters(config), "attention_output_bias": False}

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        """Has no norms in attention unless the config says so."""
        project: Any = super().create_project_config(src_config, max_length)
        if src_config.get("use_qk_norm"):
            return project
        return {
            **project,
            "components": {
                **self.components,
                "attention": "partly_rotated_attention:PartlyRotatedAttention",
            },
        }
