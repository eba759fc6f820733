"""Gemma 4 with images and sound: the text model is converted, everything else copied unchanged."""

from .gemma4_text import Gemma4Text


class Gemma4(Gemma4Text):
    """Gemma 4 with images and sound."""

    model_type = "gemma4"
    text_model_type = "gemma4_text"
