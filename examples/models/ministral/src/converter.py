"""Ministral: the standard decoder, with windows by layer."""

from typing import Any

from forgather.ml.model_conversion import HFConverter, register_converter
from forgather_convert import STANDARD_HYPERPARAMETERS


@register_converter("ministral")
class MinistralConverter(HFConverter):
    """Converts the dense Ministral models."""

    model_type = "ministral"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "sliding_window", "layer_types")

    def get_hf_model_class(self) -> Any:
        from transformers import MinistralForCausalLM

        return MinistralForCausalLM
