"""Granite with experts: four factors, as in the dense models, and experts in every layer."""

from forgather_convert import STANDARD, HFConverter


class GraniteMoe(HFConverter):
    """The Granite 3 models with experts."""

    model_type = "granitemoe"
    hf_model = "GraniteMoeForCausalLM"
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = STANDARD + (
        "attention_bias",
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
        "num_local_experts",
        "num_experts_per_tok",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names = {"num_local_experts": "num_experts"}
    layer_weights = {"block_sparse_moe.router.layer": "feedforward.router"}
    layer_tensors = {
        "block_sparse_moe.input_linear.weight": "feedforward.experts.gate_up_proj",
        "block_sparse_moe.output_linear.weight": "feedforward.experts.down_proj",
    }
    components = {
        "layer_stack": "additive_mask_layer_stack:AdditiveMaskLayerStack",
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "float_softmax_router:FloatSoftmaxRouter",
        "experts": "sorted_experts:SortedExperts",
        "head": "scaled_head:ScaledHead",
    }
