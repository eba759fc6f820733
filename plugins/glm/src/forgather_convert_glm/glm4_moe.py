"""GLM-4 MoE: rotations of a part of each head, and experts chosen as in DeepSeek-V3."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, stacked_experts


class Glm4Moe(HFConverter):
    """GLM-4.5, GLM-4.6 and GLM-4.7, and the smaller GLM-4.5-Air."""

    model_type = "glm4_moe"
    hf_model = "Glm4MoeForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "partial_rotary_factor",
        "use_qk_norm",
        "first_k_dense_replace",
        "moe_intermediate_size",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
        "n_group",
        "topk_group",
        "norm_topk_prob",
        "routed_scaling_factor",
    )
    field_names = {"n_routed_experts": "num_experts"}
    layer_weights = {
        "mlp.gate": "feedforward.router",
        "mlp.shared_experts.gate_proj": "feedforward.shared_experts.gate_proj",
        "mlp.shared_experts.up_proj": "feedforward.shared_experts.up_proj",
        "mlp.shared_experts.down_proj": "feedforward.shared_experts.down_proj",
    }
    layer_tensors = {
        "mlp.gate.e_score_correction_bias": "feedforward.router.e_score_correction_bias",
        **stacked_experts("mlp.experts.{expert}"),
    }
    components = {
        "attention": "partly_rotated_norm_attention:PartlyRotatedNormAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:SharedMixtureOfExperts",
        },
        "router": "group_limited_router:GroupLimitedRouter",
        "experts": "gated_experts:TokenOrderedExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layers, dense = config.num_hidden_layers, config.get("first_k_dense_replace", 1)
        kinds = ["dense" if layer < dense else "sparse" for layer in range(layers)]
        return {"mlp_layer_types": kinds, "attention_output_bias": False}

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
