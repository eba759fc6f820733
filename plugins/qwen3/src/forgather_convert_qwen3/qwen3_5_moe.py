"""Qwen3.5 with experts, images and videos; the vision tower is copied unchanged."""

from .qwen3_5_moe_text import Qwen3_5MoeText


class Qwen3_5Moe(Qwen3_5MoeText):  # noqa: N801 - its name
    """The Qwen3.5 models with experts."""

    model_type = "qwen3_5_moe"
    text_model_type = "qwen3_5_moe_text"
