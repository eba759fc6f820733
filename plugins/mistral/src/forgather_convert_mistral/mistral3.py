"""Mistral 3: a Mistral that sees images; the vision tower is copied unchanged."""

from .mistral import Mistral


class Mistral3(Mistral):
    """Mistral Small 3.1 and 3.2."""

    model_type = "mistral3"
    text_model_type = "mistral"
