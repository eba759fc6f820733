"""gpt-oss: attention with sinks, norms that round at the end, and experts with biases."""

from forgather_convert import STANDARD, HFConverter


class GptOss(HFConverter):
    """The gpt-oss models."""

    model_type = "gpt_oss"
    hf_model = "GptOssForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "sliding_window",
        "layer_types",
        "num_local_experts",
        "num_experts_per_tok",
        "swiglu_alpha",
        "swiglu_limit",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names = {"num_local_experts": "num_experts"}
    layer_weights = {"mlp.router": "feedforward.router"}
    layer_tensors = {
        "self_attn.sinks": "attention.sinks",
        "mlp.experts.gate_up_proj": "feedforward.experts.gate_up_proj",
        "mlp.experts.gate_up_proj_bias": "feedforward.experts.gate_up_proj_bias",
        "mlp.experts.down_proj": "feedforward.experts.down_proj",
        "mlp.experts.down_proj_bias": "feedforward.experts.down_proj_bias",
    }
    components = {
        "attention": "sink_attention:SinkAttention",
        "norm": "rms_norm:WideRMSNorm",
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "chosen_softmax_router:ChosenSoftmaxRouter",
        "experts": "biased_experts:BiasedExperts",
    }
