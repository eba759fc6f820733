"""StableLM: layer norms, partial rotary positions, and blocks one after the other or parallel."""

from forgather_convert import STANDARD, HFConverter, without


class StableLm(HFConverter):
    """StableLM 3B and StableLM 2."""

    model_type = "stablelm"
    hf_model = "StableLmForCausalLM"
    needs_transformers = "5.2"
    supports_version_4 = True
    tokenizer_class = "GPTNeoXTokenizerFast"
    hyperparameters = without(STANDARD, "head_dim", "rms_norm_eps") + (
        "layer_norm_eps",
        "use_qkv_bias",
        "qk_layernorm",
        "use_parallel_residual",
        "hidden_dropout",
        "partial_rotary_factor",
    )
    field_names = {"use_qkv_bias": "attention_bias"}
    fixed_hyperparameters = {"attention_output_bias": False}
    layer_tensors = {
        "self_attn.q_layernorm.norms.{head}.weight": "attention.q_norms.{head}.weight",
        "self_attn.k_layernorm.norms.{head}.weight": "attention.k_norms.{head}.weight",
    }
    components = {
        "layer_stack": "additive_mask_layer_stack:AdditiveMaskLayerStack",
        "layer": "stablelm_layer:StableLmLayer",
        "norm": "layer_norm:LayerNorm",
        "attention": "stablelm_attention:StableLmAttention",
    }
