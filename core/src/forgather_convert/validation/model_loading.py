"""Loads the two sides of a conversion as models, without code from the source."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forgather_convert.detect import Direction
from forgather_convert.dtypes import to_torch
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.planning.planner import PlannedConversion
from forgather_convert.plugins.manager import ConverterHandle
from forgather_convert.source_config import read_config
from forgather_convert.weights.mapped_file import TensorReader


def load_source(planned: PlannedConversion, handle: ConverterHandle, device: str) -> Any:
    """Loads the source through the classes of transformers or of the generated code.

    The weights stay in their files; only what is read takes memory, and it can be
    taken back by the kernel.
    """
    if planned.plan.direction is Direction.TO_FORGATHER:
        model_class, config = handle.hf_model_class(), planned.hf_config
    else:
        classes = load_generated_code(planned.code)
        model_class = classes.model_class
        config = classes.config_class(**planned.forgather_config)
    with TensorReader() as reader:
        state = {name: reader.read(ref) for name, ref in planned.source_state.items()}
        with _quiet_transformers():
            model = model_class.from_pretrained(
                None, config=config, state_dict=state, dtype=to_torch(planned.plan.dtype)
            )
    return model.to(device).eval()


def load_result(
    planned: PlannedConversion, handle: ConverterHandle, directory: Path, device: str
) -> Any:
    """Loads the converted directory as a user would, from its own files."""
    if planned.plan.direction is Direction.TO_FORGATHER:
        classes = load_generated_code(planned.code)
        model_class = classes.model_class
        config = classes.config_class(**read_config(directory))
    else:
        model_class = handle.hf_model_class()
        config = handle.hf_config(read_config(directory), None)
    with _quiet_transformers():
        model = model_class.from_pretrained(
            directory, config=config, dtype=to_torch(planned.plan.dtype)
        )
    return model.to(device).eval()


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and load reports off the terminal."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
