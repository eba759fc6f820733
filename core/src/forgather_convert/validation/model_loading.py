"""Loads the two sides of a conversion as models, without code from the source."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.errors import ValidationError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.planning.request import PlannedConversion
from forgather_convert.source.config_file import read_config
from forgather_convert.source.detection import Direction
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.tensor_ref import TensorRef

logger = logging.getLogger(__name__)


def load_source(planned: PlannedConversion, hooks: FamilyHooks, device: str) -> Any:
    """Loads the source through the classes of transformers or of the generated code.

    The weights stay in their files; only what is read takes memory, and it can be
    taken back by the kernel.
    """
    if planned.plan.direction is Direction.TO_FORGATHER:
        model_class, config = hooks.hf_model_class(), planned.hf_config
    else:
        classes = load_generated_code(planned.code)
        model_class = classes.model_class
        config = classes.config_class(**planned.forgather_config)
    dtype = to_torch(planned.plan.dtype)
    return _load_tensors(model_class, config, planned.source_state, dtype, device)


def load_result(
    planned: PlannedConversion, hooks: FamilyHooks, directory: Path, device: str
) -> Any:
    """Loads the converted directory as a user would, from its own files.

    Where the installed transformers cannot - an old version and an unusual original that
    was given back to the byte - the weights are read for it.

    Raises:
        ValidationError: The model cannot be loaded either way.
    """
    if planned.plan.direction is Direction.TO_FORGATHER:
        classes = load_generated_code(planned.code)
        model_class = classes.model_class
        config = classes.config_class(**read_config(directory))
    else:
        model_class = hooks.hf_model_class()
        config = hooks.hf_config(read_config(directory), None)
    dtype = to_torch(planned.plan.dtype)
    try:
        with _quiet_transformers():
            model = model_class.from_pretrained(directory, config=config, dtype=dtype)
        return model.to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        logger.warning(
            "The installed transformers does not load the result by itself (%s); "
            "checking its weights all the same",
            str(error).splitlines()[0] if str(error) else type(error).__name__,
        )
    try:
        return _load_tensors(model_class, config, _result_state(planned, directory), dtype, device)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValidationError(
            f"The converted model does not load: {type(error).__name__}: {error}. Nothing was "
            "written. Use --no-logit-check to convert all the same."
        ) from error


def _load_tensors(
    model_class: Any, config: Any, refs: Mapping[str, TensorRef], dtype: Any, device: str
) -> Any:
    """Loads a model from tensors that stay in their files."""
    with TensorReader() as reader, _quiet_transformers():
        state = {name: reader.read(ref) for name, ref in refs.items()}
        model = model_class.from_pretrained(None, config=config, state_dict=state, dtype=dtype)
    return model.to(device).eval()


def _result_state(planned: PlannedConversion, directory: Path) -> dict[str, TensorRef]:
    """The result's tensors, with a tied pair under the name of the first."""
    weights = find_weights(directory)
    tensors = {} if weights is None else dict(open_checkpoint(weights).tensors)
    for second, first in planned.tied.items():
        if second in tensors:
            tensors.setdefault(first, tensors[second])
    return tensors


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and load reports off the terminal."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    has_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    if has_bars:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()
