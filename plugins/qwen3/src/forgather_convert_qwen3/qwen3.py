"""Qwen3: the standard decoder, with normalized queries and keys and windows by layer."""

from forgather_convert import STANDARD, WINDOWS, HFConverter


class Qwen3(HFConverter):
    """The dense Qwen3 models."""

    model_type = "qwen3"
    hf_model = "Qwen3ForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = STANDARD + WINDOWS + ("attention_bias",)
    components = {"attention": "qk_norm_attention:QKNormAttention"}
