"""Classes of the installed transformers."""

from typing import Any

from forgather_convert.errors import ConverterError


def model_class(name: str) -> Any:
    """Looks up a model class by its name.

    Raises:
        ConverterError: There is none.
    """
    import transformers

    try:
        return getattr(transformers, name)
    except AttributeError:
        raise ConverterError(
            f"transformers {transformers.__version__} has no class '{name}', which the converter "
            "needs. Install a version that has it."
        ) from None


def registered_classes(model_type: str, is_composite: bool = False) -> tuple[Any, Any] | None:
    """The config and model classes that transformers has for a type, or ``None``.

    Args:
        model_type: The type.
        is_composite: Whether to look for a model of images and text instead of a causal LM.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    models = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING if is_composite else MODEL_FOR_CAUSAL_LM_MAPPING
    try:
        config_class = CONFIG_MAPPING[model_type]
        return config_class, models[config_class]
    except KeyError:
        return None


def is_known_type(model_type: str) -> bool:
    """Whether transformers has a config class for a model type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def is_transformers_at_least(version: str) -> bool:
    """Whether the installed transformers is of a version or later; ``version`` is ``"5.13"``."""
    import transformers
    from packaging.version import Version

    return Version(transformers.__version__).release >= Version(version).release
