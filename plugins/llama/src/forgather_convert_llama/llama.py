"""Llama: the standard decoder, with optional biases."""

from typing import ClassVar

from forgather_convert import STANDARD, HFConverter


class Llama(HFConverter):
    """Llama 1 to 3.x and the models that share their architecture."""

    model_type = "llama"
    aliases: ClassVar[tuple[str, ...]] = ("internlm3", "iquestcoder")
    hf_model = "LlamaForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = STANDARD + ("attention_bias", "mlp_bias")
