"""Qwen2-VL: a Qwen2 that sees images and videos; the vision tower is copied unchanged."""

from .qwen2 import Qwen2


class Qwen2VL(Qwen2):
    """Qwen2-VL."""

    model_type = "qwen2_vl"
    text_model_type = "qwen2"
