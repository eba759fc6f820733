"""Hunyuan with experts: the attention of the dense models, and a shared expert in every layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    WeightMappingDict,
    gated_feedforward,
    stacked_experts,
)
from forgather_convert_hunyuan.hunyuan_v1_dense import HunYuanDenseV1


class HunYuanMoEV1(HFConverter):
    """The Hunyuan models with experts."""

    model_type = "hunyuan_v1_moe"
    hf_model = "HunYuanMoEV1ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    # As for the dense models.
    needs_transformers = HunYuanDenseV1.needs_transformers
    supports_version_4 = True
    hyperparameters = (*HunYuanDenseV1.hyperparameters, "sep_token_id", "num_experts", "moe_topk")
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {"norm_topk_prob": True}
    unsupported: ClassVar[Mapping[str, str]] = {
        "output_router_logits": "Its class has no loss that they are for."
    }
    field_names: ClassVar[Mapping[str, str]] = {"moe_topk": "num_experts_per_tok"}
    layer_weights: ClassVar[Mapping[str, str]] = {
        **HunYuanDenseV1.layer_weights,
        "mlp.gate.wg": "feedforward.router",
        **gated_feedforward("mlp.shared_mlp", "feedforward.shared_expert"),
    }
    layer_tensors: ClassVar[WeightMappingDict] = stacked_experts("mlp.experts.{expert}")
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        **HunYuanDenseV1.components,
        "feedforward": "hunyuan_mixture_of_experts:HunyuanMixtureOfExperts",
        "router": "hunyuan_router:HunyuanRouter",
    }

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        super().validate_source_config(src_config, direction)
        if isinstance(src_config.get("num_experts"), list):
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'num_experts' is a list, which transformers 5 does not "
                f"support in the family '{self.model_type}'. If all layers have the same number of "
                "experts, give this number."
            )
        field = "moe_topk" if direction == "to_forgather" else self.field_names["moe_topk"]
        chosen, layers = src_config.get(field), src_config.num_hidden_layers
        if isinstance(chosen, list) and len(chosen) < layers:
            raise UnsupportedModelError(
                f"In {src_config.origin}, '{field}' has {len(chosen)} entries; it must have one "
                f"for each of the {layers} layers, or be a number."
            )
