"""What a family's Hugging Face classes can do. Nothing else is left out of the tests."""

from typing import Any


def attention_implementations(model_class: Any) -> tuple[str, ...]:
    """The attention implementations of transformers that a model class has on every machine."""
    return ("eager", "sdpa") if model_class._supports_sdpa else ("eager",)
