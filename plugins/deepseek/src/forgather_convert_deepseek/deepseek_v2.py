"""DeepSeek-V2: latent attention with complex rotations, and the most probable experts."""

from forgather_convert import stacked_experts, without

from .deepseek_v3 import DeepseekV3


class DeepseekV2(DeepseekV3):
    """DeepSeek-V2, DeepSeek-V2-Lite and DeepSeek-Coder-V2."""

    model_type = "deepseek_v2"
    aliases = ()
    hf_model = "DeepseekV2ForCausalLM"
    needs_transformers = "5.19"
    supports_version_4 = True
    hyperparameters = (
        *without(DeepseekV3.hyperparameters, "rope_interleave", "norm_topk_prob"),
        "topk_method",
    )
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        **DeepseekV3.components,
        "positional_encoding": "complex_rotary_embedding:ComplexRotaryEmbedding",
        "attention": "complex_latent_attention:ComplexLatentAttention",
        "router": "probable_group_router:ProbableGroupRouter",
        "experts": "summed_experts:SummedExperts",
    }
