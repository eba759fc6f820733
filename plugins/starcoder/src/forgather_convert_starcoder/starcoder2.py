"""StarCoder2: norms with biases, a feed-forward block without a gate, and windows."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, without


class Starcoder2(HFConverter):
    """StarCoder2."""

    model_type = "starcoder2"
    hf_model = "Starcoder2ForCausalLM"
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = without(STANDARD, "rms_norm_eps") + (
        "norm_epsilon",
        "use_bias",
        "sliding_window",
        "residual_dropout",
        "embedding_dropout",
    )
    field_names = {"residual_dropout": "layer_dropout"}
    layer_weights = {"mlp.c_fc": "feedforward.up_proj", "mlp.c_proj": "feedforward.down_proj"}
    components = {"norm": "layer_norm:LayerNorm", "feedforward": "feedforward:Feedforward"}

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        has_bias = bool(config.get("use_bias", True))
        return {"attention_bias": has_bias, "mlp_bias": has_bias}
