"""Mistral: the standard decoder, with a sliding window over all layers."""

from forgather_convert import STANDARD, HFConverter


class Mistral(HFConverter):
    """Mistral 7B and the models that share its architecture."""

    model_type = "mistral"
    hf_model = "MistralForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = STANDARD + ("sliding_window",)
