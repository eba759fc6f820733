"""Loads the model in a directory for a check; its values stay in their files, as stored."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forgather_convert.errors import ValidationError, cause_of, first_line
from forgather_convert.models.merged_parameters import (
    Merge,
    make_rows_when_needed,
    make_value_when_needed,
    make_when_needed,
    noted_merges,
)
from forgather_convert.models.model import Note, ignore
from forgather_convert.models.saved_state import saved_state
from forgather_convert.tensors.dtypes import tensor_bytes, to_torch
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Expression,
    Permute,
    Slice,
    Stored,
    leaves,
    operands,
    stored,
)
from forgather_convert.tensors.names import collapse_names, enumerate_names
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.text_names import TextNames
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from forgather_convert.weights.file_names import SAFETENSORS
from forgather_convert.weights.linked_files import open_linked, read_links
from forgather_convert.weights.mapped_file import TensorReader

logger = logging.getLogger(__name__)

#: The subdirectory in which transformers looks for code that replaces ``generate``.
_CODE_DIRECTORY = "custom_generate"
_REMEDY = (
    "Fix the converter, or install another version of transformers; --no-logit-check converts "
    "without loading it."
)
#: The exceptions of ``from_pretrained`` for files that it cannot load.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    AttributeError,
    TypeError,
    ImportError,
)


@dataclass(frozen=True)
class StoredModel:
    """A model in a directory.

    Attributes:
        model_class: The class that the model's users load it with.
        config: Its config object.
        directory: The directory with its weights.
        state: The same weights by their current names.
        parameters: Returns the parameters in its checkpoints.
        rest: A composite's weights besides its text model's, whose dtype is that of the model.
        stored_tensors: All tensors in its files, if the weights do not use all of them.
    """

    model_class: Any
    config: Any
    directory: Path
    state: Mapping[str, Expression]
    parameters: Callable[[], ModelParameters]
    rest: Mapping[str, Expression] = field(default_factory=dict)
    stored_tensors: Mapping[str, TensorRef] = field(default_factory=dict)

    def load_tensors(self) -> Any:
        """Loads it from its tensors, without its files; see :func:`load_tensors`."""
        return load_tensors(self.model_class, self.config, self.directory, self.state, self.rest)


def load_model(stored_model: StoredModel, note: Note = ignore, is_result: bool = False) -> Any:
    """Loads a model from its directory as completely as a user does.

    Parameters stored in the dtype of the model stay in their files. Parameters stored in another
    dtype, which loading rounds, get their stored values back: the run decides whether, and to
    what, they are rounded. Parameters combined from several stored tensors are made when they are
    used (see :mod:`merged_parameters`).

    Args:
        stored_model: The model.
        note: Receives a remark if this tool read the weights.
        is_result: Whether the directory is the result of a conversion, which must load by itself.
            For any other, this tool reads the weights if transformers cannot.

    Raises:
        ValidationError: It does not load, or not completely.
    """
    model_class, directory, state = (
        stored_model.model_class,
        stored_model.directory,
        stored_model.state,
    )
    logger.debug("Loading %s from %s", model_class.__name__, directory)
    weights = find_weights(directory)
    is_linked = weights is None and bool(read_links(directory))
    if weights is None and not is_linked:
        logger.info(
            "transformers cannot read weights like those in %s; this tool reads them", directory
        )
        note(
            "The installed transformers cannot read weights like the source's; this tool read them."
        )
        return stored_model.load_tensors()
    try:
        if (directory / _CODE_DIRECTORY).exists():
            # transformers 4 runs it without being asked, if it is local.
            raise ValueError(f"it would run the code in {_CODE_DIRECTORY}")
        with quiet_transformers(), noted_merges() as merges:
            model, report = model_class.from_pretrained(
                directory,
                config=stored_model.config,
                dtype=_usual_dtype(state),
                # If a model has the same weights in two formats, the choice must be explicit.
                use_safetensors=weights is None or weights.format == SAFETENSORS,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except _LOADING_ERRORS as error:
        if is_result:
            raise ValidationError(
                "The result does not load by itself: "
                f"{type(error).__name__}: {first_line(error).rstrip('.')}. Nothing was written. "
                f"{_REMEDY}"
            ) from error
        logger.warning(
            "The installed transformers cannot load %s by itself (%s: %s); this tool reads its "
            "weights, so the check cannot tell whether the directory loads",
            directory,
            type(error).__name__,
            first_line(error).rstrip("."),
        )
        note(
            "The installed transformers cannot load the source by itself "
            f"({type(error).__name__}: {first_line(error).rstrip('.')}); this tool read its "
            "weights."
        )
        stored_model.config.__dict__.pop("quantization_config", None)
        return stored_model.load_tensors()
    problem = _what_is_incomplete(model, report, stored_model.parameters)
    if problem:
        raise ValidationError(
            f"The result does not load completely by itself: {problem}. Nothing was written. "
            f"{_REMEDY}"
            if is_result
            else f"transformers {_version()} does not load {directory} completely: {problem}. "
            "There is nothing to compare the result with. Nothing was written. Install another "
            "version of transformers, or use --no-logit-check to convert anyway."
        )
    others = {name: stored(ref) for name, ref in stored_model.stored_tensors.items()}
    return _with_stored_values(model, state, merges, {**others, **_by_stored_names(state)})


def _what_is_incomplete(
    model: Any, report: Mapping[str, Any], parameters: Callable[[], ModelParameters]
) -> str:
    """What transformers reports as incomplete after loading; empty if nothing is missing."""
    empty = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    unexpected = report.get("unexpected_keys") or ()
    if unexpected:
        known = parameters()
        unexpected = [name for name in unexpected if not known.is_unread(name)]
    # Each entry is a name, or begins with one.
    mismatched = [
        name if isinstance(name, str) else name[0] for name in report.get("mismatched_keys") or ()
    ]
    names_by_problem = {
        "missing": {*report["missing_keys"], *empty},
        "unexpected": {*unexpected},
        "of another shape": {*mismatched},
    }
    problems = [
        f"{enumerate_names(sorted(names))} ({what})"
        for what, names in names_by_problem.items()
        if names
    ]
    return "; ".join([*problems, *(report.get("error_msgs") or ())])


def _version() -> str:
    import transformers

    return str(transformers.__version__)


def load_tensors(
    model_class: Any,
    config: Any,
    directory: Path,
    state: Mapping[str, Expression],
    rest: Mapping[str, Expression] = MappingProxyType({}),
) -> Any:
    """Loads a model from tensors by their current names, whatever their names in the files.

    Args:
        model_class: Its class.
        config: Its config object.
        directory: The directory with its weights, for messages.
        state: Its weights.
        rest: A composite's weights besides its text model's, by their names in the files. Those
            that are computed are left out: text does not pass through them.

    Raises:
        ValidationError: It does not load.
    """
    try:
        with TensorReader() as reader, quiet_transformers(), noted_merges() as merges:
            everything = {**rest, **state}
            absent = {n: value for n, value in everything.items() if not _is_in_a_file(value)}
            tensors = {
                name: _value(reader, value)
                for name, value in everything.items()
                if name not in absent
            }
            model = model_class.from_pretrained(
                None,
                config=config,
                state_dict={**tensors, **_placeholders(absent)},
                dtype=_usual_dtype(state),
            )
    except _LOADING_ERRORS as error:
        raise ValidationError(
            f"The model in {directory} does not load: {cause_of(error)}. Nothing was "
            "written. Use --no-logit-check to convert anyway."
        ) from error
    computed = {name: value for name, value in state.items() if name in absent}
    if any(map(_is_quantized, computed.values())):
        logger.warning(
            "The quantized weights in %s are dequantized in the same way for the check and for "
            "the result: the check compares names and code, but not the dequantized values",
            directory,
        )
    return _with_stored_values(model, everything, merges, everything, computed)


def _is_in_a_file(value: Expression) -> bool:
    """Whether a tensor can be mapped from a file, possibly with permuted dimensions."""
    return isinstance(value.value if isinstance(value, Permute) else value, Stored)


def _is_quantized(value: Expression) -> bool:
    return isinstance(value, BlockScaled) or any(map(_is_quantized, operands(value)))


def _value(reader: TensorReader, value: Expression) -> Any:
    """A tensor that shares the pages of its file, or is computed from files."""
    import torch

    match value:
        case Stored(ref):
            return reader.read(ref)
        case Permute(Stored(ref), dims):
            return reader.read(ref).permute(dims)
    # Piece by piece: dequantizing a tensor takes several times its own memory.
    result = torch.empty(value.shape, dtype=to_torch(value.dtype))
    flat, position = result.view(-1), 0
    with Evaluator() as evaluator:
        for piece in evaluator.pieces(value):
            flat[position : position + piece.numel()] = piece.view(-1)
            position += piece.numel()
    return result


def _rows(reader: TensorReader, value: Expression, rows: slice) -> Any:
    """Rows of a tensor, or of whatever it is computed from."""
    if _is_in_a_file(value):
        return _value(reader, value)[rows]
    return _value(reader, Slice(value, 0, rows.start, rows.stop - rows.start))


def _matrix_rows(reader: TensorReader, value: Expression, index: int, rows: slice) -> Any:
    """Rows of a matrix of a computed stack."""
    return _rows(
        reader, Slice(Slice(value, 0, index, 1), 1, rows.start, rows.stop - rows.start), slice(0, 1)
    )[0]


def _by_stored_names(state: Mapping[str, Expression]) -> Mapping[str, Expression]:
    """The stored tensors that tensors are made of, by their names in the files."""
    stored: dict[str, Expression] = {}
    parts = [*state.values()]
    while parts:
        part = parts.pop()
        if _is_in_a_file(part):
            stored[leaves(part)[0].name] = part
        else:
            parts += operands(part)
    return stored


def _placeholders(values: Mapping[str, Expression]) -> dict[str, Any]:
    """Tensors of the right dtypes and shapes, which share memory that is never accessed."""
    import torch

    sizes = {name: tensor_bytes(value.dtype, value.shape) for name, value in values.items()}
    memory = torch.empty(max(sizes.values(), default=0), dtype=torch.uint8)
    return {
        name: memory[: sizes[name]].view(to_torch(value.dtype)).view(value.shape)
        for name, value in values.items()
    }


def _usual_dtype(state: Mapping[str, Expression]) -> Any:
    """The dtype that most tensors have."""
    dtypes = Counter(value.dtype for value in state.values())
    return to_torch(dtypes.most_common(1)[0][0])


def _with_stored_values(
    model: Any,
    state: Mapping[str, Expression],
    merges: Mapping[str, Merge],
    sources: Mapping[str, Expression],
    computed: Mapping[str, Expression] | None = None,
) -> Any:
    """Restores the stored values of tensors that were cast on loading.

    Args:
        model: The model.
        state: Its weights, by their current names.
        merges: How to make parameters that are not tensors of a checkpoint.
        sources: The tensors that they are made of, by the names that the model was loaded from.
        computed: The weights that it was loaded without.
    """
    from torch import nn

    reader = TensorReader()
    make_when_needed(
        model,
        merges,
        {name: value.shape[0] for name, value in sources.items() if value.shape},
        lambda name: _value(reader, sources[name]),
        lambda name, rows: _rows(reader, sources[name], rows),
    )
    names = saved_state(model).names
    lacking = {*(computed or ())} - {name for merge in merges.values() for _, name in merge.sources}
    values: dict[int, Any] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        stored_name = names.get(name, name)
        value = None if name in merges else state.get(stored_name)
        if value is None:
            continue
        if to_torch(value.dtype) == tensor.dtype and stored_name not in lacking:
            continue
        lacking.discard(stored_name)
        if not _is_in_a_file(value):
            values[id(tensor)] = _computed_parameter(reader, value)
        elif isinstance(tensor, nn.Parameter):
            values[id(tensor)] = nn.Parameter(_value(reader, value), requires_grad=False)
        else:
            values[id(tensor)] = _value(reader, value)
    if lacking:
        raise ValidationError(
            f"The loaded model has no parameters for the weights{collapse_names(lacking)}\nNothing "
            "was written. Use --no-logit-check to convert anyway."
        )
    for module in model.modules():
        own = (
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        )
        for name, tensor in own:
            # By identity: a tied parameter belongs to two modules.
            if id(tensor) in values:
                setattr(module, name, values[id(tensor)])
    return model.eval()


def _computed_parameter(reader: TensorReader, value: Expression) -> Any:
    """A parameter without memory, whose value is computed when it is used."""
    import torch

    empty = torch.zeros((), dtype=to_torch(value.dtype)).expand(value.shape)
    parameter = torch.nn.Parameter(empty, requires_grad=False)
    make_value_when_needed(parameter, partial(_value, reader, value))
    if len(value.shape) == 3:
        make_rows_when_needed(parameter, partial(_matrix_rows, reader, value))
    return parameter


def written_state(directory: Path, parameters: ModelParameters) -> dict[str, Expression]:
    """The tensors of a written directory by the names that transformers has for them.

    Of a tied pair, it is that of the first.
    """
    weights = find_weights(directory)
    checkpoint = open_linked(directory) if weights is None else open_checkpoint(weights)
    refs = {} if checkpoint is None else checkpoint.tensors
    if parameters.text_names is not None:
        names = TextNames.find(refs, str(directory))
        text = {name: new for name in refs if (new := names.in_text_model(name))}
        tensors = {new: stored(refs[name]) for name, new in text.items()}
    else:
        tensors = {parameters.current_name(name): stored(ref) for name, ref in refs.items()}
    for second, first in parameters.tied.items():
        if second in tensors:
            tensors.setdefault(first, tensors[second])
    return {parameters.loaded_name(name): value for name, value in tensors.items()}


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
