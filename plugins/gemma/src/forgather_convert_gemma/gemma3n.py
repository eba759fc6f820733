"""Gemma 3n with images and sound: the text model is converted, everything else copied unchanged."""

from .gemma3n_text import Gemma3nText


class Gemma3n(Gemma3nText):
    """Gemma 3n with images and sound."""

    model_type = "gemma3n"
    text_model_type = "gemma3n_text"
