"""Qwen2 and Qwen2.5: the standard decoder, with biases on queries, keys and values only."""

from forgather_convert import STANDARD, WINDOWS, HFConverter


class Qwen2(HFConverter):
    """The dense Qwen2 and Qwen2.5 models."""

    model_type = "qwen2"
    hf_model = "Qwen2ForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = STANDARD + WINDOWS
    fixed_hyperparameters = {"attention_bias": True, "attention_output_bias": False}
