"""Loads the model of a directory for a check: its values stay in their files, as stored."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError, first_line
from forgather_convert.sides.merged_parameters import Merge, make_when_needed, noted_merges
from forgather_convert.sides.saved_state import saved_state
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

#: Where transformers looks for code that replaces ``generate``.
_CODE_DIRECTORY = "custom_generate"
#: What ``from_pretrained`` raises for files that it does not make a model of.
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError)


def load_model(
    model_class: Any, config: Any, directory: Path, state: Mapping[str, TensorRef]
) -> Any:
    """Loads a model from its directory as a user does.

    Parameters that are stored in the dtype of the model stay in their files. Those that are
    stored in another dtype get the values of the files back, which loading has rounded: the run
    decides whether, and to what, they are rounded. Those that are made of several stored tensors
    are made when they are used (see :mod:`merged_parameters`).

    Args:
        model_class: The class that the model's users load it with.
        config: Its config object.
        directory: The directory with its weights.
        state: The same weights by the names that its checkpoints have today.

    Raises:
        ValidationError: It does not load.
    """
    try:
        if (directory / _CODE_DIRECTORY).exists():
            # transformers 4 runs it without being asked to, where it is local.
            raise ValueError(f"it would run the code in {_CODE_DIRECTORY}")
        with quiet_transformers(), noted_merges() as merges:
            model, report = model_class.from_pretrained(
                directory,
                config=config,
                dtype=_usual_dtype(state),
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        empty = [name for name, parameter in model.named_parameters() if parameter.is_meta]
        if report["missing_keys"] or empty:
            missing = sorted({*report["missing_keys"], *empty})
            raise ValueError(f"it does not find {', '.join(missing)}")
    except _LOADING_ERRORS as error:
        logger.warning(
            "The installed transformers does not load %s by itself (%s: %s); its weights are read "
            "for it, so that the check does not prove that the directory loads",
            directory,
            type(error).__name__,
            first_line(error).rstrip("."),
        )
        return load_tensors(model_class, config, directory, state)
    return _with_stored_values(model, state, merges)


def load_tensors(
    model_class: Any, config: Any, directory: Path, state: Mapping[str, TensorRef]
) -> Any:
    """Loads a model from tensors by the names of today, whatever its files call them.

    Raises:
        ValidationError: It does not load.
    """
    try:
        with TensorReader() as reader, quiet_transformers():
            tensors = {name: reader.read(ref) for name, ref in state.items()}
            model = model_class.from_pretrained(
                None, config=config, state_dict=tensors, dtype=_usual_dtype(state)
            )
    except _LOADING_ERRORS as error:
        raise ValidationError(
            f"The model in {directory} does not load: {type(error).__name__}: {error}. Nothing was "
            "written. Use --no-logit-check to convert all the same."
        ) from error
    return _with_stored_values(model, state, {})


def _usual_dtype(state: Mapping[str, TensorRef]) -> Any:
    """The dtype that most tensors have."""
    dtypes = Counter(ref.dtype for ref in state.values())
    return to_torch(dtypes.most_common(1)[0][0])


def _with_stored_values(
    model: Any, state: Mapping[str, TensorRef], merges: Mapping[str, Merge]
) -> Any:
    """Gives the tensors that were cast on loading the values that their files have."""
    from torch import nn

    reader = TensorReader()
    refs = {**{ref.name: ref for ref in state.values()}, **state}
    make_when_needed(model, merges, lambda name: reader.read(refs[name]))
    names = saved_state(model).names
    stored: dict[int, Any] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        ref = None if name in merges else state.get(names.get(name, name))
        if ref is None or to_torch(ref.dtype) == tensor.dtype:
            continue
        value = reader.read(ref)
        is_parameter = isinstance(tensor, nn.Parameter)
        stored[id(tensor)] = nn.Parameter(value, requires_grad=False) if is_parameter else value
    for module in model.modules():
        own = (
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        )
        for name, tensor in own:
            # By identity: a tied parameter belongs to two modules.
            if id(tensor) in stored:
                setattr(module, name, stored[id(tensor)])
    return model.eval()


def written_state(directory: Path, parameters: ModelParameters) -> dict[str, TensorRef]:
    """The tensors of a written directory by the names of today, of a tied pair the first."""
    weights = find_weights(directory)
    stored = {} if weights is None else open_checkpoint(weights).tensors
    tensors = {parameters.current_name(name): ref for name, ref in stored.items()}
    for second, first in parameters.tied.items():
        if second in tensors:
            tensors.setdefault(first, tensors[second])
    return tensors


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
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
