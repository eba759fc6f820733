"""Ministral 3: a Mistral with YaRN, whose queries grow beyond the length it was trained with."""

from .mistral import Mistral


class Ministral3(Mistral):
    """The text models of Ministral 3 and Devstral 2."""

    model_type = "ministral3"
    hf_model = "Ministral3ForCausalLM"
    needs_transformers = "5.6"
    components = {
        "positional_encoding": "stepped_rotary_embedding:SteppedRotaryEmbedding",
        "attention": "stepped_attention:SteppedAttention",
    }
