"""A stand-in for the framework's package of this name: other contents under the same names."""

from collections.abc import Callable

from .standard_mappings import STANDARD_HF_TO_FORGATHER

__all__ = ["STANDARD_HF_TO_FORGATHER", "HFConverter", "register_converter"]

registered: dict[str, type] = {}


class HFConverter:
    """A base class of another shape."""

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type


def register_converter(model_type: str) -> Callable[[type], type]:
    """Registers a class with the framework."""

    def register(converter_class: type) -> type:
        registered[model_type] = converter_class
        return converter_class

    return register
