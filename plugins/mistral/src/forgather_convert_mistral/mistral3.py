"""Mistral 3: a text model that sees images; the vision tower is copied unchanged."""

from .ministral3 import Ministral3
from .mistral import Mistral


class Mistral3(Mistral):
    """Mistral Small 3.1 and 3.2; Ministral 3 and Devstral 2 as published."""

    model_type = "mistral3"
    text_model_type = "mistral"
    needs_transformers = "5.6"
    supports_version_4 = True
    other_text_models = (Ministral3,)
