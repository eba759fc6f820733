"""StarCoder2: norms with biases, a feed-forward block without a gate, and windows."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    STANDARD_WEIGHT_MAPPING,
    HFConverter,
    SourceConfig,
    WeightMappingDict,
)


class Starcoder2(HFConverter):
    """StarCoder2."""

    model_type = "starcoder2"
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = (
        *(name for name in STANDARD_HYPERPARAMETERS if name != "rms_norm_eps"),
        "norm_epsilon",
        "use_bias",
        "sliding_window",
        "residual_dropout",
        "embedding_dropout",
    )
    field_names: ClassVar[Mapping[str, str]] = {"residual_dropout": "layer_dropout"}
    weight_mapping: ClassVar[WeightMappingDict] = {
        name.replace("up_proj", "c_fc").replace("down_proj", "c_proj"): place
        for name, place in STANDARD_WEIGHT_MAPPING.items()
    }
    components: ClassVar[Mapping[str, str]] = {
        "norm": "layer_norm:LayerNorm",
        "feedforward": "feedforward:Feedforward",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Starcoder2ForCausalLM

        return Starcoder2ForCausalLM

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        has_bias = bool(config.get("use_bias", True))
        return {"attention_bias": has_bias, "mlp_bias": has_bias}
