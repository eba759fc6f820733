"""Fills a Forgather model in memory from a Hugging Face directory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.compare.configs import compare_configs
from forgather_convert.compare.conversion_configs import check_configs
from forgather_convert.errors import MappingError, UnsupportedModelError, ValidationError
from forgather_convert.families.converter import HFConverter
from forgather_convert.files.file_state import FileState, check_unchanged
from forgather_convert.in_memory.gathering import own_box
from forgather_convert.in_memory.live_model import LiveModel, live_model
from forgather_convert.models.opening import ModelRequest, open_model
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.planner import plan_conversion
from forgather_convert.planning.request import PlannedModel, PlanRequest
from forgather_convert.source.model_directory import CHANGED_BY_TRAINING
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import Expression, Slice
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.tensor_ref import format_shape
from forgather_convert.vocabulary.token_file import read_token_file

if TYPE_CHECKING:
    import torch


def load_hf_weights(
    model: Any,
    directory: Path | str,
    options: ConvertOptions | None = None,
    *,
    converter: HFConverter | None = None,
) -> None:
    """Fills a Forgather model in memory with the weights of a Hugging Face directory.

    The parameters become what ``forgather convert`` and ``from_pretrained`` would have made them;
    no Forgather directory is written. Values are rounded to the model's dtype like
    ``from_pretrained(dtype=...)`` does. They are read in pieces, and a process reads only its part
    of a sharded model (``DTensor``: FSDP2, tensor parallelism); all of them must call this.

    Nothing is changed before the whole conversion is planned, and the model's config, names and
    shapes are found to be those of the directory.

    Args:
        model: The model; wrappers of ``torch.compile`` and DDP are seen through.
        directory: The Hugging Face directory.
        options: The options that the model's directory was converted with, if there were any, such
            as ``dequantize``.
        converter: The converter to use; by default, it is found by the model's type.

    Raises:
        ForgatherConvertError: The directory cannot be converted, or to another model.
    """
    live = live_model(model)
    source = Path(directory).absolute()
    plan = live.processes.from_first(
        lambda: _planned(live, source, options or ConvertOptions(), converter)
    )
    error: BaseException | None = None
    try:
        for name, value in plan.tensors.items():
            _fill(live.tensors[name], value)
        check_unchanged(plan.states)
    except BaseException as failure:
        # The others learn of it before they go on with half of a model.
        error = failure
    live.processes.agree(error)


@dataclass(frozen=True)
class _Plan:
    """What every tensor becomes, and the states of the files that it is read from."""

    tensors: Mapping[str, Expression]
    states: Mapping[Path, FileState]


def _planned(
    live: LiveModel, source: Path, options: ConvertOptions, converter: HFConverter | None
) -> _Plan:
    # If it was converted with an additional token, it has a row more.
    request = ModelRequest(source, replace(options, skip_default_tokens=True), converter)
    planned = _plan(request)
    if planned.destination.config_object.vocab_size != live.module.config.vocab_size:
        planned = _plan(replace(request, options=options))
    check_configs(planned, options)
    _check_config(live, planned, source)
    shapes = planned.destination.parameters.shapes
    _check_shapes(live, shapes, source)
    return _Plan(planned.tensors, planned.plan.weights_states)


def _plan(request: ModelRequest) -> PlannedModel:
    opened = open_model(request)
    if opened.detection.is_forgather:
        raise UnsupportedModelError(
            f"{request.path} is a Forgather model. Load it with from_pretrained."
        )
    token_file = request.options.token_file
    tokens = None if token_file is None else read_token_file(token_file)
    return plan_conversion(PlanRequest(opened, request.path, tokens))


def _check_config(live: LiveModel, planned: PlannedModel, source: Path) -> None:
    differences = [
        each
        for each in compare_configs(live.module.config, planned.destination.config_object)
        if each.name not in CHANGED_BY_TRAINING and not each.is_of_initialization
    ]
    if differences:
        lines = "".join(
            f"\n  {each.name}: {each.a!r} in the model, {each.b!r} in the directory"
            for each in differences
        )
        raise ValidationError(
            f"The model is not the one in {source}; their configs differ:{lines}\nThe model is "
            "unchanged. Build it from a conversion of that directory."
        )


def _check_shapes(live: LiveModel, shapes: Mapping[str, tuple[int, ...]], source: Path) -> None:
    names = live.tensors.keys() ^ shapes.keys()
    if names:
        raise MappingError(
            f"The model and the one in {source} do not have the same tensors; only one of them "
            f"has{collapse_names(sorted(names))}\nThe model is unchanged."
        )
    for name, tensor in live.tensors.items():
        if tuple(tensor.shape) != shapes[name]:
            raise MappingError(
                f"'{name}' is {format_shape(tuple(tensor.shape))} in the model, and would be "
                f"{format_shape(shapes[name])} from {source}. The model is unchanged."
            )


def _fill(tensor: "torch.Tensor", value: Expression) -> None:
    """Copies a value, or this process's part of it, into a tensor piece by piece."""
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        box = own_box(tensor, with_replicas=True)
        if box is None:
            return
        for dim, (start, size) in enumerate(zip(box.starts, box.sizes, strict=True)):
            if size != value.shape[dim]:
                value = Slice(value, dim, start, size)
        tensor = tensor.to_local()
    with Evaluator() as evaluator:
        if not tensor.is_contiguous():
            tensor.copy_(evaluator.value(value))
            return
        flat, position = tensor.view(-1), 0
        for piece in evaluator.pieces(value):
            flat[position : position + piece.numel()].copy_(piece.view(-1))
            position += piece.numel()
