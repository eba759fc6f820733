"""LLaVA: a Llama that sees images; the vision tower is copied unchanged."""

from .llama import Llama


class Llava(Llama):
    """LLaVA 1.5 and the models that share its architecture, with a Llama as their text model."""

    model_type = "llava"
    aliases = ()
    text_model_type = "llama"
