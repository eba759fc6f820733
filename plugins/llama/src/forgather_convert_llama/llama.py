"""Llama: the standard decoder, with optional biases."""

from typing import Any

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class Llama(HFConverter):
    """Llama 1 to 3.x and the models that share their architecture."""

    model_type = "llama"
    aliases = ("internlm3", "iquestcoder")
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias", "mlp_bias")

    def get_hf_model_class(self) -> Any:
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM
