"""DeepSeek-V3: latent attention, and experts that are chosen in groups."""

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
_ATTENTION = {
    "q_a_proj.weight": "query_down_linear.weight",
    "q_a_proj.bias": "query_down_linear.bias",
    "q_a_layernorm.weight": "query_norm.weight",
    "q_b_proj.weight": "query_up_linear.weight",
    "kv_a_proj_with_mqa.weight": "latent_linear.weight",
    "kv_a_proj_with_mqa.bias": "latent_linear.bias",
    "kv_a_layernorm.weight": "latent_norm.weight",
    "kv_b_proj.weight": "key_value_linear.weight",
}
_FEEDFORWARD = {
    "gate.weight": "router.weight",
    "gate.e_score_correction_bias": "router.e_score_correction_bias",
    "shared_experts.gate_proj.weight": "shared_experts.gate_proj.weight",
    "shared_experts.up_proj.weight": "shared_experts.up_proj.weight",
    "shared_experts.down_proj.weight": "shared_experts.down_proj.weight",
}


class DeepseekV3(HFConverter):
    """DeepSeek-V3 and DeepSeek-R1."""

    model_type = "deepseek_v3"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "attention_bias",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "rope_interleave",
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
    field_names: ClassVar[Mapping[str, str]] = {"n_routed_experts": "num_experts"}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **STANDARD_WEIGHT_MAPPING,
        **{f"{_HF}.self_attn.{hf}": f"{_FG}.attention.{fg}" for hf, fg in _ATTENTION.items()},
        **{f"{_HF}.mlp.{hf}": f"{_FG}.feedforward.{fg}" for hf, fg in _FEEDFORWARD.items()},
        **stacked_experts(f"{_HF}.mlp.experts.{{expert}}"),
    }
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        "attention": "latent_attention:LatentAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:SharedMixtureOfExperts",
        },
        "router": "group_limited_router:GroupLimitedRouter",
        "experts": "gated_experts:TokenOrderedExperts",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import DeepseekV3ForCausalLM

        return DeepseekV3ForCausalLM

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layers, dense = config.num_hidden_layers, config.get("first_k_dense_replace") or 0
        kinds = ["dense" if layer < dense else "sparse" for layer in range(layers)]
        return {"mlp_layer_types": kinds}
