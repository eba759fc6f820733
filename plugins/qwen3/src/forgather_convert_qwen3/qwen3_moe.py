"""Qwen3 MoE: the standard decoder with normalized queries and keys, and experts in some layers."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import (
    STANDARD,
    WINDOWS,
    HFConverter,
    SourceConfig,
    sparse_layers_by_step,
    stacked_experts,
    without,
)


class Qwen3Moe(HFConverter):
    """The Qwen3 models with experts."""

    model_type = "qwen3_moe"
    hf_model = "Qwen3MoeForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        STANDARD
        + without(WINDOWS, "layer_types")
        + (
            "attention_bias",
            "moe_intermediate_size",
            "num_experts",
            "num_experts_per_tok",
            "norm_topk_prob",
            "decoder_sparse_step",
            "mlp_only_layers",
            "output_router_logits",
            "router_aux_loss_coef",
        )
    )
    layer_weights = {"mlp.gate": "feedforward.router"}
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        "attention": "qk_norm_attention:QKNormAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:MixtureOfExperts",
        },
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return sparse_layers_by_step(config)
