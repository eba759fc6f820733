"""Finds the parameters in a model's checkpoints from the model on the meta device."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from forgather_convert.dynamic_model.full_precision import as_transformers_finds
from forgather_convert.errors import (
    ConverterError,
    ForgatherConvertError,
    UnsupportedModelError,
    cause_of,
    first_line,
)
from forgather_convert.models.saved_state import saved_state
from forgather_convert.models.trial_run import error_in_run
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.tensors.parameters import ModelParameters

#: How many parameters, of all models together, are remembered.
_REMEMBERED = 20_000
_known: dict[tuple[Any, ...], ModelParameters] = {}


def parameters_of_class(
    model_class: Any,
    config: Any,
    failure: Callable[[Exception], ForgatherConvertError] | None = None,
    is_composite: bool = False,
) -> ModelParameters:
    """Lists the parameters in the checkpoints of a class's model with a config.

    They depend on nothing else. So those of the latest models are remembered, without having been
    built and run again: a training saves one model many times.

    Args:
        model_class: The class.
        config: The config, which is not changed.
        failure: As for :func:`parameters_of`.
        is_composite: As for :func:`parameters_of`.

    Raises:
        ForgatherConvertError: As :func:`parameters_of`.
    """
    key = (model_class, type(config), repr(config.to_dict()), failure is None, is_composite)
    if key not in _known:
        found = parameters_of(lambda: model_class(copy.deepcopy(config)), failure, is_composite)
        _known[key] = found
        total = sum(len(parameters.shapes) for parameters in _known.values())
        for oldest in [*_known]:
            if total <= _REMEMBERED:
                break
            total -= len(_known.pop(oldest).shapes)
        return found
    return _known[key]


def parameters_of(
    build: Callable[[], Any],
    failure: Callable[[Exception], ForgatherConvertError] | None = None,
    is_composite: bool = False,
) -> ModelParameters:
    """Builds a model on the meta device and lists the parameters in its checkpoints.

    Args:
        build: Builds the model.
        failure: Makes the error to raise if the model fails when it is run on the meta device;
            ``None`` to not run it.
        is_composite: Whether the model is a composite, of which only the text model is meant.

    Raises:
        UnsupportedModelError: The model refuses its config.
        ConverterError: Its code is unfinished, or needs a module that cannot be imported.
    """
    from forgather_convert.models.meta_device import on_meta_device

    try:
        with on_meta_device():
            model = build()
    except ImportError as error:
        # transformers writes several lines.
        cause = " ".join(cause_of(error).split())
        raise ConverterError(
            f"The model's code needs a module that cannot be imported: {cause}. Install it, or "
            "upgrade the converter."
        ) from error
    except NotImplementedError as error:
        raise ConverterError(
            f"The model's code is unfinished: {first_line(error) or 'a part is not implemented'}"
        ) from error
    except Exception as error:
        raise UnsupportedModelError(
            f"The model cannot be built from its config: {cause_of(error)}. "
            "Fix the config, or install another version of transformers."
        ) from error
    saved = saved_state(model)
    modules = {module: name for name, module in model.named_modules()}
    # The weight of each comes first; a head may also have a bias.
    (embedding, *_), (head, *biases) = (
        [saved.names[f"{modules[module]}.{name}"] for name, _ in module.named_parameters()]
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
    )
    tables = [
        saved.names[f"{modules[table]}.weight"]
        for table in _other_tables(model)
        if table.num_embeddings == model.get_input_embeddings().num_embeddings
    ]
    is_tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    tied = {head: embedding} if is_tied else {}
    parameters = ModelParameters(
        shapes={name: shape for name, shape in saved.shapes.items() if name not in tied},
        tied=tied,
        vocabulary_tensors=(embedding, *(() if is_tied else (head,)), *biases, *tables),
        base_prefix=model.base_model_prefix,
        unread=_unread_names(model, saved.shapes),
        loaded_names=saved.loaded_names,
        kept_in_float32=_kept_in_float32(model, saved.names),
    )
    problem = None if failure is None else error_in_run(model)
    if failure is not None and problem is not None:
        raise failure(problem) from problem
    return parameters.of_text_model() if is_composite else parameters


def _other_tables(model: Any) -> list[Any]:
    """The tables of tokens besides the embedding: those of the layers' own inputs."""
    if not getattr(model.config.get_text_config(), "hidden_size_per_layer_input", None):
        return []
    return [model.get_per_layer_input_embeddings()]


def _kept_in_float32(model: Any, names: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The parameters that transformers does not round when it loads a model in a narrower dtype.

    Args:
        model: The model.
        names: The names in a checkpoint of its parameters and buffers, by their own.
    """
    always = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    in_float16 = getattr(model, "_keep_in_fp32_modules", None) or ()
    kept = {}
    for dtype, modules in (("bfloat16", always), ("float16", (*always, *in_float16))):
        patterns = [as_transformers_finds(module, type(model)) for module in modules]
        matching = (name for name in names if any(find.search(name) for find in patterns))
        kept[dtype] = frozenset(names[name] for name in matching)
    return kept


def _unread_names(model: Any, stored: Iterable[str]) -> re.Pattern[str]:
    """Names that transformers ignores: those listed by the class, and unsaved buffers."""
    patterns = {RECOMPUTED}
    for module in model.modules():
        # transformers 4 defines them for the base model, but checks the model with the head.
        patterns.update(getattr(module, "_keys_to_ignore_on_load_unexpected", None) or ())
    buffers = {name for name, _ in model.named_buffers()} - set(stored)
    patterns.update(f"^{re.escape(name)}$" for name in buffers)
    return re.compile("|".join(f"(?:{pattern})" for pattern in sorted(patterns)))
