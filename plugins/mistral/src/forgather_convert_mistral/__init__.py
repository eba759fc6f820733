"""Mistral: the standard decoder, with a sliding window over all layers."""

from typing import Any

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter
from forgather_convert_mistral.tiny_configs import TINY_CONFIGS


class MistralConverter(HFConverter):
    """Converts Mistral 7B and the models that share its architecture."""

    model_type = "mistral"
    tiny_configs = TINY_CONFIGS
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "sliding_window")

    def get_hf_model_class(self) -> Any:
        from transformers import MistralForCausalLM

        return MistralForCausalLM
