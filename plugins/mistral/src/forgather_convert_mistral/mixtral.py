"""Mixtral: the standard decoder with experts in every layer."""

from forgather_convert import STANDARD, HFConverter, stacked_experts


class Mixtral(HFConverter):
    """The Mixtral models."""

    model_type = "mixtral"
    hf_model = "MixtralForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = STANDARD + (
        "sliding_window",
        "num_local_experts",
        "num_experts_per_tok",
        "router_jitter_noise",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names = {"num_local_experts": "num_experts"}
    fixed_hyperparameters = {"norm_topk_prob": True}
    layer_weights = {"block_sparse_moe.gate": "feedforward.router"}
    layer_tensors = stacked_experts(
        "block_sparse_moe.experts.{expert}", gate="w1", up="w3", down="w2"
    )
    components = {
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "softmax_router:PreciseSoftmaxRouter",
    }
