"""Qwen3-Next: gated delta nets in most layers, gated attention in the others, and experts."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import (
    SourceConfig,
    gated_feedforward,
    sparse_layers_by_step,
    stacked_experts,
)

from .qwen3_5_text import Qwen3_5Text

#: The modules of a layer with experts, besides the experts.
EXPERT_WEIGHTS = {
    "mlp.gate": "feedforward.router",
    **gated_feedforward("mlp.shared_expert", "feedforward.shared_expert"),
    "mlp.shared_expert_gate": "feedforward.shared_expert_gate",
}


class Qwen3Next(Qwen3_5Text):
    """Qwen3-Next and Qwen3-Coder-Next."""

    model_type = "qwen3_next"
    hf_model = "Qwen3NextForCausalLM"
    needs_transformers = "5.16"
    supports_version_4 = True
    hyperparameters = Qwen3_5Text.hyperparameters + (
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
    layer_weights = {
        **{
            f"linear_attn.{name}": f"mixer.{name}"
            for name in ("conv1d", "in_proj_qkvz", "in_proj_ba", "norm", "out_proj")
        },
        **EXPERT_WEIGHTS,
    }
    layer_tensors = {
        "linear_attn.A_log": "mixer.A_log",
        "linear_attn.dt_bias": "mixer.dt_bias",
        **stacked_experts("mlp.experts.{expert}"),
    }
    components = {
        **Qwen3_5Text.components,
        "mixer": "gated_delta_net:GatedDeltaNet",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:GatedSharedMixtureOfExperts",
        },
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return sparse_layers_by_step(config)
