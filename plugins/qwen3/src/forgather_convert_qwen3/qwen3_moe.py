"""Qwen3 MoE: the standard decoder with normalised queries and keys, and experts in some layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    SourceConfig,
    WeightMappingDict,
    stacked_experts,
)

_HF = "model.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"


class Qwen3Moe(HFConverter):
    """The Qwen3 models with experts."""

    model_type = "qwen3_moe"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "attention_bias",
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "moe_intermediate_size",
        "num_experts",
        "num_experts_per_tok",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    weight_mapping: ClassVar[WeightMappingDict] = {
        **STANDARD_WEIGHT_MAPPING,
        f"{_HF}.mlp.gate.weight": f"{_FG}.feedforward.router.weight",
        **stacked_experts(f"{_HF}.mlp.experts.{{expert}}"),
    }
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        "attention": "qk_norm_attention:QKNormAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:MixtureOfExperts",
        },
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Qwen3MoeForCausalLM

        return Qwen3MoeForCausalLM

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        dense, step = config.get("mlp_only_layers") or (), config.get("decoder_sparse_step", 1)
        is_sparse = (
            layer not in dense and config.get("num_experts", 1) > 0 and (layer + 1) % step == 0
            for layer in range(config.num_hidden_layers)
        )
        return {"mlp_layer_types": ["sparse" if each else "dense" for each in is_sparse]}
