"""Granite: the standard decoder with four factors."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class Granite(HFConverter):
    """The dense Granite 3 models."""

    model_type = "granite"
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

    def get_hf_model_class(self) -> Any:
        from transformers import GraniteForCausalLM

        return GraniteForCausalLM
