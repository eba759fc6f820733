"""Converters for model types with the same architecture as another family."""

from typing import Any

from forgather_convert.families.converter import HFConverter
from forgather_convert.families.transformers_classes import registered_classes


def as_alias(converter: HFConverter, model_type: str) -> HFConverter:
    """A converter's variant for one of its aliases; the converter itself for other model types.

    Its output keeps the alias as the model type, so that the reverse conversion restores the type,
    and transformers' own classes for that type load it, if there are any.
    """
    if model_type == converter.model_type or model_type not in converter.aliases:
        return converter
    base = type(converter)
    alias: Any = type(
        base.__name__, (_Alias, base), {"model_type": model_type, "__doc__": base.__doc__}
    )
    made: HFConverter = object.__new__(alias)
    made.__dict__.update(converter.__dict__)
    return made


def of_composite(composite: type[HFConverter], text_model_type: str | None) -> type[HFConverter]:
    """A composite's converter for models whose text model has a given type.

    Returns:
        The converter itself if that is the usual type, or one that it does not know.
    """
    for text_model in composite.other_text_models:
        if text_model.model_type == text_model_type:
            fields = {
                "model_type": composite.model_type,
                "aliases": composite.aliases,
                "text_model_type": text_model_type,
                "tiny_configs": text_model().get_tiny_configs(),
                "__doc__": composite.__doc__,
                "__module__": text_model.__module__,
            }
            return type(composite.__name__, (text_model,), fields)
    return composite


def as_text_model(converter: HFConverter) -> HFConverter:
    """A composite's converter as the converter of its text model alone."""
    base = type(converter)
    fields = {
        "model_type": base.text_model_type,
        "text_model_type": "",
        "__doc__": base.__doc__,
        "__module__": base.__module__,
    }
    made: HFConverter = object.__new__(type(base.__name__, (base,), fields))
    made.__dict__.update(converter.__dict__)
    return made


class _Alias(HFConverter):
    """Overrides the classes, if transformers has its own for the alias."""

    def get_hf_model_class(self) -> Any:
        registered = registered_classes(self.model_type)
        return super().get_hf_model_class() if registered is None else registered[1]

    def get_hf_config_class(self) -> Any:
        registered = registered_classes(self.model_type)
        return super().get_hf_config_class() if registered is None else registered[0]

    def get_tokenizer_class(self) -> str | None:
        from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

        registered = TOKENIZER_MAPPING_NAMES.get(self.model_type)
        # transformers 4 names a slow and a fast one.
        names = registered if isinstance(registered, tuple) else (registered,)
        return next((name for name in names if name), None) or super().get_tokenizer_class()
