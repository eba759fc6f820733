"""dots.llm1: normalised queries and keys, and experts chosen as in DeepSeek-V3."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import (
    STANDARD,
    WINDOWS,
    HFConverter,
    SourceConfig,
    stacked_experts,
    without,
)


class Dots1(HFConverter):
    """dots.llm1."""

    model_type = "dots1"
    hf_model = "Dots1ForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        STANDARD
        + without(WINDOWS, "use_sliding_window")
        + (
            "attention_bias",
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
        "attention": "qk_norm_attention:QKNormAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:SharedMixtureOfExperts",
        },
        "router": "group_limited_router:GroupLimitedRouter",
        "experts": "gated_experts:TokenOrderedExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layers, dense = config.num_hidden_layers, config.get("first_k_dense_replace") or 0
        kinds = ["dense" if layer < dense else "sparse" for layer in range(layers)]
        return {"mlp_layer_types": kinds}
