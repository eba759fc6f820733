"""Qwen3.5 with experts in every layer.

transformers saves experts one by one. Published models have them merged, as transformers 5 has them
in memory.
"""

from forgather_convert import stacked_experts, without

from .qwen3_5_text import Qwen3_5Text
from .qwen3_next import EXPERT_WEIGHTS


class Qwen3_5MoeText(Qwen3_5Text):  # noqa: N801 - its name
    """The text models of Qwen3.5 with experts."""

    model_type = "qwen3_5_moe_text"
    hf_model = "Qwen3_5MoeForCausalLM"
    hyperparameters = without(Qwen3_5Text.hyperparameters, "intermediate_size") + (
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "num_experts",
        "num_experts_per_tok",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    fixed_hyperparameters = {"norm_topk_prob": True}
    layer_weights = {**Qwen3_5Text.layer_weights, **EXPERT_WEIGHTS}
    layer_tensors = {
        **Qwen3_5Text.layer_tensors,
        **stacked_experts("mlp.experts.{expert}"),
    }
    components = {
        **Qwen3_5Text.components,
        "feedforward": "mixture_of_experts:GatedSharedMixtureOfExperts",
    }
