"""Finds a family's tiny configs and components beside the file of its converter."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_TINY_CONFIGS = "tiny_configs"
_COMPONENTS = "components"


def tiny_configs_beside(converter_class: Any) -> Mapping[str, Mapping[str, Any]]:
    """The tiny configs of a family, from the module ``tiny_configs`` beside its converter.

    The module has a constant named after the model type, such as ``QWEN3_MOE``. It is imported
    here, not with the converter. A class without tiny configs has those of its base class.
    """
    for one, module in _with_modules(converter_class):
        package = module.__package__
        if package and find_spec(f"{package}.{_TINY_CONFIGS}") is not None:
            beside = import_module(f"{package}.{_TINY_CONFIGS}")
            name = constant_name(one.model_type)
            configs: Mapping[str, Mapping[str, Any]] = getattr(beside, name, {})
            if configs:
                return configs
    return {}


def constant_name(model_type: str) -> str:
    """The name of a model type's tiny configs, such as ``"QWEN3_MOE"``."""
    return re.sub(r"\W", "_", model_type).upper()


def components_beside(converter_class: Any) -> list[Path]:
    """The directories ``components`` beside a converter's file and those of its base classes."""
    paths = [
        Path(module.__file__).parent / _COMPONENTS
        for _, module in _with_modules(converter_class)
        if module.__file__ is not None
    ]
    return [path for path in dict.fromkeys(paths) if path.is_dir()]


def _with_modules(converter_class: Any) -> Iterator[tuple[Any, ModuleType]]:
    """The class and those of its base classes that are converters, each with its module."""
    for one in converter_class.__mro__:
        module = sys.modules.get(one.__module__)
        if hasattr(one, "model_type") and module is not None:
            yield one, module
