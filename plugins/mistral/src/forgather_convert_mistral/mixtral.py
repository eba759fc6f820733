"""Mixtral: the standard decoder with experts in every layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    WeightMappingDict,
    stacked_experts,
)

_MOE = "model.layers.{layer}.block_sparse_moe"


class Mixtral(HFConverter):
    """The Mixtral models."""

    model_type = "mixtral"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "sliding_window",
        "num_local_experts",
        "num_experts_per_tok",
        "router_jitter_noise",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names: ClassVar[Mapping[str, str]] = {"num_local_experts": "num_experts"}
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {"norm_topk_prob": True}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **STANDARD_WEIGHT_MAPPING,
        f"{_MOE}.gate.weight": "causal_lm.layer_stack.layers.{layer}.feedforward.router.weight",
        **stacked_experts(f"{_MOE}.experts.{{expert}}", gate="w1", up="w3", down="w2"),
    }
    components: ClassVar[Mapping[str, str]] = {
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "softmax_router:PreciseSoftmaxRouter",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import MixtralForCausalLM

        return MixtralForCausalLM
