"""DeepSeek-V3: latent attention, and experts that are chosen in groups."""

from forgather_convert import DeepseekExperts


class DeepseekV3(DeepseekExperts):
    """DeepSeek-V3 and DeepSeek-R1."""

    model_type = "deepseek_v3"
    hf_model = "DeepseekV3ForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = DeepseekExperts.hyperparameters + (
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "rope_interleave",
    )
    layer_weights = {
        "self_attn.q_a_proj": "attention.query_down_linear",
        "self_attn.q_a_layernorm": "attention.query_norm",
        "self_attn.q_b_proj": "attention.query_up_linear",
        "self_attn.kv_a_proj_with_mqa": "attention.latent_linear",
        "self_attn.kv_a_layernorm": "attention.latent_norm",
        "self_attn.kv_b_proj": "attention.key_value_linear",
        **DeepseekExperts.layer_weights,
    }
    components = {**DeepseekExperts.components, "attention": "latent_attention:LatentAttention"}
