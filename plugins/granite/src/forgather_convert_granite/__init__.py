"""Granite: the standard decoder with four factors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter
from forgather_convert_granite.tiny_configs import TINY_CONFIGS


class GraniteConverter(HFConverter):
    """Converts the dense Granite 3 models."""

    model_type = "granite"
    tiny_configs = TINY_CONFIGS
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "attention_bias",
        "mlp_bias",
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    )
    components: ClassVar[Mapping[str, str]] = {
        "attention": "scaled_attention:ScaledAttention",
        "head": "scaled_head:ScaledHead",
    }
    component_paths = (Path(__file__).parent / "components",)

    def get_hf_model_class(self) -> Any:
        from transformers import GraniteForCausalLM

        return GraniteForCausalLM
