"""Llama 4 with images: the text model is converted, everything else copied unchanged."""

from .llama4_text import Llama4Text


class Llama4(Llama4Text):
    """Llama 4 Scout and Maverick."""

    model_type = "llama4"
    text_model_type = "llama4_text"
