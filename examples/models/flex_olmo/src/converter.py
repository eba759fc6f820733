"""FlexOlmo: OLMo 2 with a mixture of experts in every layer."""

from forgather.ml.model_conversion import STANDARD, HFConverter, register_converter, stacked_experts


@register_converter("flex_olmo")
class FlexOlmo(HFConverter):
    """FlexOlmo."""

    model_type = "flex_olmo"
    hf_model = "FlexOlmoForCausalLM"
    tokenizer_class = "GPT2TokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "num_experts",
        "num_experts_per_tok",
        "norm_topk_prob",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    layer_weights = {
        "post_attention_layernorm": "norm1",
        "post_feedforward_layernorm": "norm2",
        "mlp.gate": "feedforward.router",
    }
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        "attention": "projection_norm_attention:ProjectionNormAttention",
        "feedforward": "flex_olmo_experts:FlexOlmoExperts",
        "layer": "post_norm_layer:PostNormLayer",
        "norm": "rms_norm:WideRMSNorm",
        "positional_encoding": "rotary_embedding:WideRotaryEmbedding",
    }
