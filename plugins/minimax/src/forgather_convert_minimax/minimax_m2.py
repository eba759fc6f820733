"""MiniMax-M2: norms over whole projections, partly rotated heads, and experts in every layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD,
    HFConverter,
    RopeParameters,
    WeightMappingDict,
    stacked_experts,
)


class MiniMaxM2(HFConverter):
    """The MiniMax-M2 models."""

    model_type = "minimax_m2"
    hf_model = "MiniMaxM2ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + (
        "partial_rotary_factor",
        "num_local_experts",
        "num_experts_per_tok",
        "router_jitter_noise",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names = {"num_local_experts": "num_experts"}
    layer_weights = {"block_sparse_moe.gate": "feedforward.router"}
    layer_tensors: ClassVar[WeightMappingDict] = {
        "block_sparse_moe.e_score_correction_bias": "feedforward.router.e_score_correction_bias",
        **stacked_experts("block_sparse_moe.experts.{expert}", gate="w1", up="w3", down="w2"),
    }
    components = {
        "attention": "minimax_m2_attention:MiniMaxM2Attention",
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "corrected_sigmoid_router:CorrectedSigmoidRouter",
    }

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Leaves a partial rotation out where there is none, as the config class does."""
        return rope.to_fields()
