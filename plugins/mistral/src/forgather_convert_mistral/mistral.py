"""Mistral: the standard decoder, with a sliding window over all layers."""

from typing import Any

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class Mistral(HFConverter):
    """Mistral 7B and the models that share its architecture."""

    model_type = "mistral"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "sliding_window")

    def get_hf_model_class(self) -> Any:
        from transformers import MistralForCausalLM

        return MistralForCausalLM
