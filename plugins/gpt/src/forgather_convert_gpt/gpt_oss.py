"""gpt-oss: attention with sinks, norms that round last, and experts with biases."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    WeightMappingDict,
)

_HF = "model.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"
_EXPERTS = ("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias")


class GptOss(HFConverter):
    """The gpt-oss models."""

    model_type = "gpt_oss"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
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
    field_names: ClassVar[Mapping[str, str]] = {"num_local_experts": "num_experts"}
    weight_mapping: ClassVar[WeightMappingDict] = {
        **STANDARD_WEIGHT_MAPPING,
        f"{_HF}.self_attn.sinks": f"{_FG}.attention.sinks",
        f"{_HF}.mlp.router.weight": f"{_FG}.feedforward.router.weight",
        f"{_HF}.mlp.router.bias": f"{_FG}.feedforward.router.bias",
        **{f"{_HF}.mlp.experts.{name}": f"{_FG}.feedforward.experts.{name}" for name in _EXPERTS},
    }
    components: ClassVar[Mapping[str, str]] = {
        "attention": "sink_attention:SinkAttention",
        "norm": "rms_norm:WideRMSNorm",
        "feedforward": "mixture_of_experts:MixtureOfExperts",
        "router": "chosen_softmax_router:ChosenSoftmaxRouter",
        "experts": "biased_experts:BiasedExperts",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import GptOssForCausalLM

        return GptOssForCausalLM
