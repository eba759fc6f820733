"""Ministral: the standard decoder, with windows by layer."""

from forgather.ml.model_conversion import STANDARD, HFConverter, register_converter


@register_converter("ministral")
class Ministral(HFConverter):
    """The dense Ministral models."""

    model_type = "ministral"
    hf_model = "MinistralForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    hyperparameters = STANDARD + ("sliding_window", "layer_types")
