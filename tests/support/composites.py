"""Tiny models of images and text."""

import inspect
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import composites


def _whole(hooks: FamilyHooks) -> Mapping[str, Any]:
    """The fields besides those of the text model, as in the standard tests of the composite."""
    converter_class = type(hooks.converter)
    distribution = Path(inspect.getfile(converter_class)).parents[2]
    suites = runpy.run_path(str(distribution / "tests" / "test_conformance.py")).values()
    (whole,) = (
        suite.whole
        for suite in suites
        if isinstance(suite, type)
        and issubclass(suite, composites.CompositeConformance)
        and getattr(suite, "converter_class", None) is converter_class
    )
    return whole


def write_composite(
    directory: Path, model_type: str, text_model_type: str | None = None, **fields: Any
) -> Path:
    """Writes a composite as transformers saves it, with files of a processor.

    Args:
        directory: The directory, which is created.
        model_type: The type.
        text_model_type: The type of its text model, if it is another one than usual.
        fields: Fields of the text model to change.
    """
    usual = resolve_converter(model_type)
    hooks = usual.for_text_model(text_model_type)
    text = {**next(iter(hooks.get_tiny_configs().values())), **fields}
    return composites.write_composite(directory, hooks, text, _whole(usual))


def rename_tensors(directory: Path, rename: Callable[[str], str]) -> None:
    """Gives the tensors of a directory other names."""
    path = directory / "model.safetensors"
    state = {rename(name): tensor for name, tensor in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})
