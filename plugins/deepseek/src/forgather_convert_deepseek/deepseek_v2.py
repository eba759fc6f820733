"""DeepSeek-V2: latent attention with complex rotations, and the most probable experts."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, stacked_experts


class DeepseekV2(HFConverter):
    """DeepSeek-V2, DeepSeek-V2-Lite and DeepSeek-Coder-V2."""

    model_type = "deepseek_v2"
    hf_model = "DeepseekV2ForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = STANDARD + (
        "attention_bias",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "first_k_dense_replace",
        "moe_intermediate_size",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
        "topk_method",
        "n_group",
        "topk_group",
        "routed_scaling_factor",
    )
    field_names = {"n_routed_experts": "num_experts"}
    layer_weights = {
        "self_attn.q_a_proj": "attention.query_down_linear",
        "self_attn.q_a_layernorm": "attention.query_norm",
        "self_attn.q_b_proj": "attention.query_up_linear",
        "self_attn.kv_a_proj_with_mqa": "attention.latent_linear",
        "self_attn.kv_a_layernorm": "attention.latent_norm",
        "self_attn.kv_b_proj": "attention.key_value_linear",
        "mlp.gate": "feedforward.router",
        "mlp.shared_experts.gate_proj": "feedforward.shared_experts.gate_proj",
        "mlp.shared_experts.up_proj": "feedforward.shared_experts.up_proj",
        "mlp.shared_experts.down_proj": "feedforward.shared_experts.down_proj",
    }
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        "positional_encoding": "complex_rotary_embedding:ComplexRotaryEmbedding",
        "attention": "complex_latent_attention:ComplexLatentAttention",
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:SharedMixtureOfExperts",
        },
        "router": "probable_group_router:ProbableGroupRouter",
        "experts": "summed_experts:SummedExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        layers, dense = config.num_hidden_layers, config.get("first_k_dense_replace") or 0
        kinds = ["dense" if layer < dense else "sparse" for layer in range(layers)]
        return {"mlp_layer_types": kinds}
