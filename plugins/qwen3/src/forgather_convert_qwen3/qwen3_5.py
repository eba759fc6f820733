"""Qwen3.5 with images and videos; the vision tower is copied unchanged."""

from .qwen3_5_text import Qwen3_5Text


class Qwen3_5(Qwen3_5Text):  # noqa: N801 - its name
    """The dense Qwen3.5 models."""

    model_type = "qwen3_5"
    text_model_type = "qwen3_5_text"
