"""OLMoE: norms over whole projections, whose values can be clipped, and experts in every layer."""

from forgather_convert import STANDARD, HFConverter, stacked_experts


class Olmoe(HFConverter):
    """OLMoE."""

    model_type = "olmoe"
    hf_model = "OlmoeForCausalLM"
    tokenizer_class = "GPTNeoXTokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "clip_qkv",
        "num_experts",
        "num_experts_per_tok",
        "norm_topk_prob",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    layer_weights = {"mlp.gate": "feedforward.router"}
    layer_tensors = stacked_experts("mlp.experts.{expert}")
    components = {
        "layer_stack": "additive_mask_layer_stack:AdditiveMaskLayerStack",
        "attention": "olmoe_attention:OlmoeAttention",
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "norm": "olmoe_norm:OlmoeNorm",
    }
