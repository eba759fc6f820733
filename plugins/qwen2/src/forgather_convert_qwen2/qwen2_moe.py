"""Qwen2-MoE: Qwen2 with experts, and a shared expert with a gate in each layer."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import (
    STANDARD,
    WINDOWS,
    HFConverter,
    SourceConfig,
    gated_feedforward,
    sparse_layers_by_step,
    stacked_experts,
)


class Qwen2Moe(HFConverter):
    """Qwen1.5-MoE and the Qwen2 model with experts."""

    model_type = "qwen2_moe"
    hf_model = "Qwen2MoeForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        STANDARD
        + WINDOWS
        + (
            "qkv_bias",
            "moe_intermediate_size",
            "shared_expert_intermediate_size",
            "num_experts",
            "num_experts_per_tok",
            "norm_topk_prob",
            "decoder_sparse_step",
            "mlp_only_layers",
            "output_router_logits",
            "router_aux_loss_coef",
        )
    )
    field_names = {"qkv_bias": "attention_bias"}
    unsupported = {
        "use_sliding_window": "transformers 4 and 5 have windows in different layers.",
    }
    layer_weights = {
        "mlp.gate": "feedforward.router",
        **gated_feedforward("mlp.shared_expert", "feedforward.shared_expert"),
        "mlp.shared_expert_gate": "feedforward.shared_expert_gate",
    }
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        "layer_stack": "additive_mask_layer_stack:AdditiveMaskLayerStack",
        "attention": "divided_attention:DividedAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:GatedSharedMixtureOfExperts",
        },
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {"attention_output_bias": False, **sparse_layers_by_step(config)}
