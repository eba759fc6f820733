"""A composite directory, such as one for images and text, seen as its text model.

A composite's config contains that of its text model, and its checkpoint has the text model's
tensors under longer names, which differ between versions of transformers: ``model.layers.0`` is
``language_model.model.layers.0``, or ``model.language_model.layers.0``. After this view, nothing
else needs to know: the text model is converted like any other, and the rest is copied unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.source.config_file import DTYPE_FIELDS, SourceConfig
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.text_names import TextNames

#: The field with the text model's config.
TEXT_CONFIG = "text_config"
#: The field of a Forgather config with the type of the text model, if it was a composite's.
TEXT_MODEL_TYPE = "hf_text_model_type"
_VISION_CONFIG = "vision_config"
#: Fields that may be given for the composite and not for its text model.
_SHARED = (*DTYPE_FIELDS, "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Composite:
    """A composite, apart from its text model.

    Attributes:
        config: The content of its ``config.json``.
        names: Its names for the tensors of the text model.
        text: The tensors of the text model, by the text model's names.
        others: Its other tensors, by their own names.
    """

    config: SourceConfig
    names: TextNames
    text: Mapping[str, TensorRef]
    others: Mapping[str, TensorRef]

    @classmethod
    def of(cls, config: SourceConfig, tensors: Mapping[str, TensorRef], origin: str) -> "Composite":
        """Divides a composite's checkpoint.

        Args:
            config: The content of its ``config.json``.
            tensors: All its tensors.
            origin: Its weights, for messages.

        Raises:
            SourceError: There is no text model in it.
        """
        names = TextNames.find(tensors, origin)
        return cls(config, names, *names.divide(tensors))


def has_text_config(fields: Mapping[str, Any]) -> bool:
    """Whether the fields of a text model are in an object of their own in a composite's config.

    Older configs have them beside those of the vision model.
    """
    return isinstance(fields.get(TEXT_CONFIG), Mapping)


def text_model_type(config: Mapping[str, Any]) -> str | None:
    """The type of a composite's text model that a config of either kind states."""
    if has_text_config(config):
        stated = config[TEXT_CONFIG].get("model_type")
    else:
        stated = config.get(TEXT_MODEL_TYPE)
    return stated if isinstance(stated, str) else None


def text_config(config: SourceConfig) -> SourceConfig:
    """The config of a composite's text model.

    Args:
        config: The content of the composite's ``config.json``.
    """
    if has_text_config(config):
        shared = {name: config[name] for name in _SHARED if name in config}
        return SourceConfig({**shared, **config[TEXT_CONFIG]}, config.origin)
    own = {name: value for name, value in config.items() if name != _VISION_CONFIG}
    return SourceConfig(own, config.origin)
