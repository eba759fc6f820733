"""Granite: the standard decoder with four factors."""

from forgather_convert import STANDARD, HFConverter


class Granite(HFConverter):
    """The dense Granite 3 models."""

    model_type = "granite"
    hf_model = "GraniteForCausalLM"
    tokenizer_class = "GPT2Tokenizer"
    hyperparameters = STANDARD + (
        "attention_bias",
        "mlp_bias",
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    )
    components = {"head": "scaled_head:ScaledHead"}
