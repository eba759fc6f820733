"""Gemma 3 with images: the text model is converted, the vision tower copied unchanged."""

from .gemma3_text import Gemma3Text


class Gemma3(Gemma3Text):
    """Gemma 3 with images."""

    model_type = "gemma3"
    text_model_type = "gemma3_text"
    unsupported = {
        **Gemma3Text.unsupported,
        "final_logit_softcapping": "transformers caps logits in the text model alone only.",
    }
