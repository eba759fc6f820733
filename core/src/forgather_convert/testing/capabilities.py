"""What a family's Hugging Face classes can do. Nothing else is left out of the tests."""

from typing import Any

import transformers

from forgather_convert.errors import ConverterError, UnsupportedModelError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.transformers_classes import is_known_type, is_transformers_at_least

#: Whether transformers has the older major version, on which only what differs is tested.
IS_OLDER = transformers.__version__.startswith("4.")
#: The dtypes in which models are compared. On transformers 4, they are compared in that of most
#: published models, and their gradients in float32.
DTYPES = ("bfloat16",) if IS_OLDER else ("float32", "bfloat16")

#: Whether dynamic RoPE keeps the frequencies of a long prompt for shorter ones that follow, so that
#: what a Hugging Face model computes depends on its past.
KEEPS_LONG_FREQUENCIES = is_transformers_at_least("5") and not is_transformers_at_least("5.13")


def attention_implementations(model_class: Any) -> tuple[str, ...]:
    """The attention implementations of transformers that a model class has on every machine."""
    return ("eager", "sdpa") if model_class._supports_sdpa else ("eager",)


def why_absent(hooks: FamilyHooks) -> str | None:
    """Why the installed transformers has no model of a family, or ``None`` if it has.

    It must know neither the class nor the model type, or the type of a composite's text model: a
    class that is misspelt is an error. Or it is older than the family requires.
    """
    try:
        hooks.get_hf_model_class()
    except UnsupportedModelError as error:
        return str(error)
    except ConverterError as error:
        types = filter(None, (hooks.model_type, hooks.converter.text_model_type))
        return None if all(map(is_known_type, types)) else str(error)
    return None
