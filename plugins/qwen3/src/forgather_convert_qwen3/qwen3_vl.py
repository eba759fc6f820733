"""Qwen3-VL: a Qwen3 that sees images and videos; the vision tower is copied unchanged."""

from forgather_convert import STANDARD

from .qwen3 import Qwen3


class Qwen3VL(Qwen3):
    """The dense Qwen3-VL models."""

    model_type = "qwen3_vl"
    text_model_type = "qwen3"
    hyperparameters = STANDARD + ("attention_bias",)
