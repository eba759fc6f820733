"""Looks up what the installed transformers has registered for a model type."""

from typing import Any


def registered_classes(model_type: str) -> tuple[Any, Any] | None:
    """transformers' config and causal LM classes for a type; ``None`` if it has none."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        config_class = CONFIG_MAPPING[model_type]
        return config_class, MODEL_FOR_CAUSAL_LM_MAPPING[config_class]
    except KeyError:
        return None


def is_known_type(model_type: str) -> bool:
    """Whether transformers has a config class for a model type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING
