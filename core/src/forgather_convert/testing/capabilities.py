"""What a family's Hugging Face classes can do. Nothing else is left out of the tests."""

from typing import Any

from forgather_convert.families.rope import ROPE_FIELDS


def attention_implementations(model_class: Any) -> tuple[str, ...]:
    """The attention implementations of transformers that a model class has on every machine."""
    return ("eager", "sdpa") if model_class._supports_sdpa else ("eager",)


def has_rope(config_class: Any) -> bool:
    """Whether a family rotates queries and keys: a config without any fields says how."""
    return any(hasattr(config_class(), name) for name in ROPE_FIELDS)
