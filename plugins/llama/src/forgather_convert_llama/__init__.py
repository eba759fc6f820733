"""Llama: the standard decoder, with optional biases."""

from typing import Any

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter
from forgather_convert_llama.tiny_configs import TINY_CONFIGS


class LlamaConverter(HFConverter):
    """Converts Llama 1 to 3.x and the models that share their architecture."""

    model_type = "llama"
    aliases = ("internlm3", "iquestcoder")
    tiny_configs = TINY_CONFIGS
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias", "mlp_bias")

    def get_hf_model_class(self) -> Any:
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM
