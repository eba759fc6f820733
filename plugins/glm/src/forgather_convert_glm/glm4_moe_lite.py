"""GLM-4 MoE Lite: the attention and the experts of DeepSeek-V3."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import DeepseekDecoder, SourceConfig, without


class Glm4MoeLite(DeepseekDecoder):
    """GLM-4.7-Flash."""

    model_type = "glm4_moe_lite"
    hf_model = "Glm4MoeLiteForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (
        *without(DeepseekDecoder.hyperparameters, "first_k_dense_replace"),
        "mlp_layer_types",
    )

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return self.fixed_hyperparameters
