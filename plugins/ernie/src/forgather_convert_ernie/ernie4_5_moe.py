"""ERNIE 4.5 MoE: the attention of ERNIE 4.5, and shared and routed experts in some layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD,
    HFConverter,
    SourceConfig,
    WeightMappingDict,
    gated_feedforward,
    stacked_experts,
    without,
)
from forgather_convert_ernie.ernie4_5 import Ernie45


class Ernie45Moe(HFConverter):
    """The ERNIE 4.5 models with experts."""

    model_type = "ernie4_5_moe"
    hf_model = "Ernie4_5_MoeForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = without(STANDARD, "attention_dropout") + (
        "moe_intermediate_size",
        "moe_k",
        "moe_num_experts",
        "moe_num_shared_experts",
        "moe_layer_start_index",
        "moe_layer_end_index",
        "moe_layer_interval",
        "moe_norm_min",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    unsupported: ClassVar[Mapping[str, str]] = {
        "use_bias": "Experts have biases in transformers 4, but not in version 5."
    }
    field_names: ClassVar[Mapping[str, str]] = {
        "moe_k": "num_experts_per_tok",
        "moe_num_experts": "num_experts",
        "moe_num_shared_experts": "n_shared_experts",
    }
    layer_weights: ClassVar[Mapping[str, str]] = {
        "mlp.gate": "feedforward.router",
        **gated_feedforward("mlp.shared_experts", "feedforward.shared_experts"),
    }
    layer_tensors: ClassVar[WeightMappingDict] = {
        "mlp.moe_statics.e_score_correction_bias": "feedforward.router.e_score_correction_bias",
        **stacked_experts("mlp.experts.{expert}"),
    }
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        **Ernie45.components,
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "ernie_mixture_of_experts:ErnieMixtureOfExperts",
        },
        "router": "corrected_softmax_router:CorrectedSoftmaxRouter",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        start = config.get("moe_layer_start_index", 1)
        end = config.get("moe_layer_end_index", -1)
        step = config.get("moe_layer_interval", 1)
        layers = range(config.num_hidden_layers)
        chosen = layers[start:] if end == -1 else layers[start : end + 1]
        kinds = [
            "sparse" if layer in chosen and (layer + 1) % step == 0 else "dense" for layer in layers
        ]
        return {"mlp_layer_types": kinds, "attention_dropout": 0.0}
